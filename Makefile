# PASTE.  `make demo` and `make test` set up all they need; see README.md.
#
#   make            library, tools and, where kernel headers are, the module
#   make install    all of it, below PREFIX (DESTDIR is honoured); make uninstall
#   make deb        the same as Debian packages, for those who build with their own dpkg
#   make test       everything is proven; make check: without VMs and lint; make soak: for hours; make lint: checkers
#   make demo       PASTE at work, in a VM, with numbers; make bench: more of them
VERSION	:= 0.1
PREFIX	?= /usr/local
KDIR	?= /lib/modules/$(shell uname -r)/build
INSTALL	?= install
DEBS	?= $(CURDIR)/deb

PROGRAMS := apps/echo apps/udpecho apps/plog apps/proxy apps/pastectl apps/phttpd
MAN	 := $(wildcard doc/man/*.[1-8])
# Where the programs, the manual, udev and systemd look, below PREFIX.
INSTALLED := bin/phttpd sbin/pastectl lib/udev/rules.d/60-paste.rules lib/sysusers.d/paste.conf \
	     lib/systemd/system/paste@.service $(foreach m,$(MAN),share/man/man$(patsubst .%,%,$(suffix $m))/$(notdir $m))

# Not for a package's directory: it has no kernel's index of modules and no linker's cache.
DEPMOD	 := $(if $(DESTDIR),true,depmod)
LDCONFIG := $(if $(DESTDIR),true,ldconfig)

all: user $(if $(wildcard $(KDIR)),module)

user:
	$(MAKE) -C lib
	for d in $(PROGRAMS); do $(MAKE) -C $$d || exit; done

# What the lab's guest needs; `lab/build` makes it inside the lab's Debian tree.
guest: user
	for d in tests/kernel tests/fuzz tests/order; do [ ! -e $$d/Makefile ] || $(MAKE) -C $$d || exit; done
	$(MAKE) -C tests/abi readme

module:
	$(MAKE) -C kernel KDIR=$(KDIR) modules

install: all install-user
	if [ -e kernel/paste.ko ]; then \
		$(MAKE) -C kernel KDIR=$(KDIR) $(if $(DESTDIR),INSTALL_MOD_PATH=$(DESTDIR)) modules_install && \
		$(DEPMOD) $$(cat $(KDIR)/include/config/kernel.release); \
	else \
		echo "no module: kernel headers are not at $(KDIR)"; \
	fi
	$(LDCONFIG)

install-user: user
	$(MAKE) -C lib install PREFIX=$(PREFIX) VERSION=$(VERSION)
	for f in $(INSTALLED); do $(INSTALL) -d $(DESTDIR)$(PREFIX)/$${f%/*} || exit; done
	$(INSTALL) apps/phttpd/phttpd $(DESTDIR)$(PREFIX)/bin
	$(INSTALL) apps/pastectl/pastectl $(DESTDIR)$(PREFIX)/sbin
	$(INSTALL) -m 644 dist/60-paste.rules $(DESTDIR)$(PREFIX)/lib/udev/rules.d
	$(INSTALL) -m 644 dist/paste.sysusers $(DESTDIR)$(PREFIX)/lib/sysusers.d/paste.conf
	sed 's|@sbindir@|$(PREFIX)/sbin|' dist/paste@.service > $(DESTDIR)$(PREFIX)/lib/systemd/system/paste@.service
	for m in $(MAN); do $(INSTALL) -m 644 $$m $(DESTDIR)$(PREFIX)/share/man/man$${m##*.} || exit; done

uninstall:
	$(MAKE) -C lib uninstall PREFIX=$(PREFIX)
	rm -f $(addprefix $(DESTDIR)$(PREFIX)/,$(INSTALLED))
	for d in $(wildcard $(DESTDIR)/lib/modules/*/updates); do \
		rm -f $$d/paste.ko* && $(DEPMOD) $$(basename $${d%/updates}) || exit; \
	done
	$(LDCONFIG)

# Debian packages for this machine's release, in DEBS.
deb:
	dpkg-checkbuilddeps -I
	debian/rules clean
	mkdir -p $(DEBS)
	DEB_BUILD_OPTIONS=noautodbgsym debian/rules binary DEBS=$(DEBS)

lint:
	tests/lint

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
	dpkg-query -W liblmdb-dev > /dev/null 2>&1 || { apt-get -qq update && apt-get -qq -y install liblmdb-dev; }
	bench/run bench; status=$$?; bench/idle || status=1; $(MAKE) -C bench native || status=1; \
	bench/run report || status=1; exit $$status

clean-user:
	for d in lib $(PROGRAMS); do $(MAKE) -C $$d clean; done

clean: clean-user
	for d in bench tests/unit tests/abi tests/crash tests/kernel tests/fuzz tests/order tests/scale; do $(MAKE) -C $$d clean; done
	[ ! -e $(KDIR) ] || $(MAKE) -C kernel KDIR=$(KDIR) clean
	rm -rf lab/out bench/out $(DEBS)

.PHONY: all user guest module install install-user uninstall deb lint check test soak demo bench clean-user clean
