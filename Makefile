# PASTE.  `make demo` and `make test` set up all they need; see README.md.
#
#   make            library, tools and, where kernel headers are, the module
#   make install    all of it, below PREFIX (DESTDIR is honoured)
#   make test       everything is proven; make check: what needs no VM; make soak: for hours
#   make demo       PASTE at work, in a VM, with numbers; make bench: more of them
PREFIX	?= /usr/local
KDIR	?= /lib/modules/$(shell uname -r)/build
INSTALL	?= install

PROGRAMS := apps/echo apps/plog apps/proxy apps/pastectl apps/phttpd
MAN	 := $(wildcard doc/man/*.[1-8])

all: guest $(if $(wildcard $(KDIR)),module)

# What runs in user space; `lab/build` makes it inside the lab's Debian tree.
guest:
	$(MAKE) -C lib
	for d in $(PROGRAMS); do $(MAKE) -C $$d || exit; done
	for d in tests/kernel tests/fuzz; do [ ! -e $$d/Makefile ] || $(MAKE) -C $$d || exit; done

module:
	$(MAKE) -C kernel KDIR=$(KDIR) modules

install: all
	$(INSTALL) -d $(DESTDIR)$(PREFIX)/include/net $(DESTDIR)$(PREFIX)/lib $(DESTDIR)$(PREFIX)/bin $(DESTDIR)$(PREFIX)/sbin
	$(INSTALL) -m 644 include/*.h $(DESTDIR)$(PREFIX)/include
	$(INSTALL) -m 644 include/net/*.h $(DESTDIR)$(PREFIX)/include/net
	$(INSTALL) -m 644 lib/libpaste.a $(DESTDIR)$(PREFIX)/lib
	cp -P lib/libpaste.so lib/libpaste.so.* $(DESTDIR)$(PREFIX)/lib
	$(INSTALL) apps/phttpd/phttpd $(DESTDIR)$(PREFIX)/bin
	$(INSTALL) apps/pastectl/pastectl $(DESTDIR)$(PREFIX)/sbin
	for m in $(MAN); do \
		$(INSTALL) -D -m 644 $$m $(DESTDIR)$(PREFIX)/share/man/man$${m##*.}/$${m##*/} || exit; \
	done
	if [ -e kernel/paste.ko ]; then \
		$(MAKE) -C kernel KDIR=$(KDIR) $(if $(DESTDIR),INSTALL_MOD_PATH=$(DESTDIR)) modules_install; \
	else \
		echo "no module: kernel headers are not at $(KDIR)"; \
	fi

check:
	tests/all --native

test:
	tests/all

soak:
	tests/soak

# Table, CSV files and plot in bench/out; see bench/run --help.
demo:
	bench/run demo

bench:
	bench/run bench
	bench/idle

clean:
	for d in lib $(PROGRAMS) tests/unit tests/abi tests/crash; do $(MAKE) -C $$d clean; done
	rm -rf lab/out bench/out

.PHONY: all guest module install check test soak demo bench clean
