# SPDX-License-Identifier: BSD-2-Clause
# One file at a time through a compiler or checker, for tests/lint: make -f tests/lint.mk gcc|clang|tidy.

OUT	:= /build/checked
SOURCES	:= $(shell grep -E '^(lib|apps|bench|lab|tests)/.*\.c$$' /build/sources)
HEADERS	:= $(shell grep -E '^(lib|apps|include|tests)/.*h$$' /build/sources)
WARN	:= -Wall -Wextra -Wshadow -Wmissing-prototypes -Wstrict-prototypes
# Tests of the module are compiled as tests/unit/kernel.mk does, without a warning of unused parameters; the sanitizers' headers
# are gcc's.
KERNEL	:= -Itests/unit/kernel -Ikernel -D__KERNEL__ -fno-strict-aliasing -Wno-unused-parameter -Wno-sign-compare \
	   -idirafter $(shell gcc -print-file-name=include)
# Compiled as they are by whoever learns from them.
EXAMPLES := $(addprefix apps/,$(addsuffix /%,echo plog proxy udpecho))
flags	 = -std=gnu11 $(if $(filter $(EXAMPLES) lab/%,$<),,-D_GNU_SOURCE) $(WARN) -Werror -O2 \
	   $(if $(filter tests/unit/kernel%,$<),$(KERNEL)) -Iinclude -Ilib -Iapps/phttpd -Iapps/pastectl \
	   -DHAVE_URING -DHAVE_PASTE $(if $(filter tests/%,$<),-Wno-unused-function)

# The profiler's plugin is for two versions of QEMU's interface.
majors	 = $(if $(filter lab/plugin.c,$<),7 9,9)

# As tests/fuzz/Makefile has it: what GUARDED() leaves by longjmp() is not looked at afterwards.
$(OUT)/gcc/tests/fuzz/%: WARN += -Wno-clobbered

gcc clang tidy: %: $(addprefix $(OUT)/%/,$(SOURCES))

$(OUT)/tidy/tests/unit/kernel%: CHECKS := --checks=-misc-unused-parameters

# Paths through tests are followed less far, in a third of the time; they are all walked when tests run, under sanitizers.
$(OUT)/tidy/tests/%: DEPTH := -Xclang -analyzer-config -Xclang mode=shallow

$(foreach t,gcc clang tidy,$(addprefix $(OUT)/$t/,$(filter tests/unit/kernel%,$(SOURCES)))): \
	$(shell grep -E '^kernel/.*[ch]$$' /build/sources)

$(OUT)/gcc/%: % $(HEADERS)
	@mkdir -p $(@D)
	for major in $(majors); do gcc $(flags) -DQEMU_MAJOR=$$major -c -o /dev/null $< || exit; done; touch $@

$(OUT)/clang/%: % $(HEADERS)
	@mkdir -p $(@D)
	for major in $(majors); do clang $(flags) -DQEMU_MAJOR=$$major -c -o /dev/null $< || exit; done; touch $@

$(OUT)/tidy/%: % $(HEADERS) .clang-tidy tests/.clang-tidy tests/fuzz/.clang-tidy
	@mkdir -p $(@D)
	for major in $(majors); do \
		clang-tidy --quiet $(CHECKS) $< -- $(flags) $(DEPTH) -DQEMU_MAJOR=$$major 2> /dev/null || exit; \
	done; touch $@

.PHONY: gcc clang tidy
