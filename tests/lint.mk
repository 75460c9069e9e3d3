# SPDX-License-Identifier: BSD-2-Clause
# One file at a time through a compiler or checker, for tests/lint: make -f tests/lint.mk gcc|clang|tidy.

OUT	:= /build/checked
SOURCES	:= $(shell grep -E '^(lib|apps|bench|tests/(kernel|abi|crash|order|scale)|lab/init)[/.].*c$$|^tests/unit/(region_file|[a-z]*)_test.c$$' /build/sources)
HEADERS	:= $(shell grep -E '^(lib|apps|include|tests)/.*h$$' /build/sources)
WARN	:= -Wall -Wextra -Wshadow -Wmissing-prototypes -Wstrict-prototypes
flags	 = -std=gnu11 $(if $(filter lab/%,$<),,-D_GNU_SOURCE) $(WARN) -Werror -O2 -Iinclude -Ilib -Iapps/phttpd \
	   -DHAVE_URING -DHAVE_PASTE $(if $(filter tests/%,$<),-Wno-unused-function)

gcc clang tidy: %: $(addprefix $(OUT)/%/,$(SOURCES))

$(OUT)/gcc/%: % $(HEADERS)
	@mkdir -p $(@D)
	gcc $(flags) -c -o /dev/null $< && touch $@

$(OUT)/clang/%: % $(HEADERS)
	@mkdir -p $(@D)
	clang $(flags) -c -o /dev/null $< && touch $@

$(OUT)/tidy/%: % $(HEADERS) .clang-tidy tests/.clang-tidy
	@mkdir -p $(@D)
	clang-tidy --quiet $< -- $(flags) 2> /dev/null && touch $@

.PHONY: gcc clang tidy
