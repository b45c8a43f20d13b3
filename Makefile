# CellOS: top-level build. `make help` lists the targets; one rules.mk per folder adds the folder's own.
VERSION := $(shell cat VERSION)
B       ?= build
PREFIX  ?= /usr/local
V       ?= 0
Q       := $(if $(filter 1,$(V)),,@)
say      = @[ $(V) = 1 ] || echo "  $(1)"
ifeq ($(origin CC),default)
CC      := gcc
endif

FOLDERS := common proto supervisor netd proxyd signerd
DAEMONS := $(filter-out common proto,$(FOLDERS))

# ---- flags ----
# Debian 12's clang 14 refuses some of gcc's hardening options: each is used where the compiler takes it.
cc_option = $(shell $(CC) -Werror $(1) -x c -fsyntax-only /dev/null 2>/dev/null && echo $(1))
pkg       = $(if $(strip $(1)),$(shell pkg-config $(2) $(1) 2>/dev/null))

WARN   := -Wall -Wextra -Wconversion -Wformat=2 -Wshadow -Wvla -Wstrict-prototypes -Wmissing-prototypes -Wundef -Werror
HARDEN := -O2 -D_FORTIFY_SOURCE=2 -fPIE -fstack-protector-strong \
          $(foreach o,-ftrivial-auto-var-init=zero -fstack-clash-protection,$(call cc_option,$(o)))
LHARD  := -pie -Wl,-z,relro,-z,now,-z,noexecstack
# The sanitizers need a few more system calls; -DCELLOS_SANITIZE adds them to the daemons' lists at build time only.
SANITIZE := -g -O1 -fno-omit-frame-pointer -fno-sanitize-recover=all -fPIE -DCELLOS_SANITIZE
ifeq ($(SAN),1)
HARDEN := $(SANITIZE) -fsanitize=address,undefined
LHARD  := -pie -fsanitize=address,undefined
endif
ifeq ($(FUZZ),1)
HARDEN := $(SANITIZE) -fsanitize=fuzzer-no-link,address,undefined
LHARD  := -pie -fsanitize=fuzzer,address,undefined
endif

# A folder's rules.mk names the pkg-config packages it links (PKGS_<folder>) and its programs.
define program
BINS += $(B)/bin/$(1)
$(B)/bin/$(1): $(B)/obj/$(2).o $(B)/lib$(firstword $(subst /, ,$(2))).a $(B)/libproto.a $(B)/libcommon.a
	$$(call link,$$(PKGS_$(firstword $(subst /, ,$(2)))))
endef

.PHONY: all help clean install FORCE
all: ## build every program (the default)

include $(wildcard $(addsuffix /rules.mk,$(FOLDERS) packaging tests tests/*))

CPPFLAGS += -I. -D_GNU_SOURCE -DCELLOS_VERSION='"$(VERSION)"'
# One package at a time: Debian's libunbound asks for a libevent.pc that is not there, and takes the others along.
LANGUAGE := -std=gnu17 -g $(WARN) $(sort $(foreach f,$(FOLDERS),$(foreach p,$(PKGS_$(f)),$(call pkg,$(p),--cflags))))
CFLAGS   += $(LANGUAGE) $(HARDEN)
LDFLAGS  += $(LHARD) -Wl,--as-needed
LDLIBS   := -lev -lmsgpackc $(call pkg,$(PKGS_common),--libs) -lpthread

all: $(BINS)

# ---- objects, libraries, programs ----
# A build directory is of one compiler and one set of flags: other flags build everything again.
$(B)/flags: FORCE
	$(shell mkdir -p $(B))$(file >$@.new,$(CC) $(CPPFLAGS) $(CFLAGS))
	@if cmp -s $@.new $@; then rm $@.new; else mv $@.new $@; fi

$(B)/obj/%.o: %.c $(B)/flags | $(B)/deps
	@mkdir -p $(@D)
	$(call say,CC    $<)
	$(Q)$(CC) $(CPPFLAGS) $(CFLAGS) -MMD -MP -c -o $@ $<

# Every .c below a folder belongs to its library, except main programs and host tools (tool/).
objs = $(patsubst %.c,$(B)/obj/%.o,$(1))
srcs = $(filter-out $(1)/main.c $(1)/ctl/main.c $(1)/tool/%,$(wildcard $(1)/*.c $(1)/*/*.c))
define folder_lib
$(B)/lib$(1).a: $(call objs,$(call srcs,$(1)))
	@mkdir -p $$(@D)
	$$(Q)rm -f $$@ && ar rcs $$@ $$^
endef
$(foreach f,$(FOLDERS),$(eval $(call folder_lib,$(f))))

# $(1): pkg-config packages besides those of common
define link
	@mkdir -p $(@D)
	$(call say,LINK  $@)
	$(Q)$(CC) $(LDFLAGS) -o $@ $(filter %.o %.a,$^) $(LDLIBS) $(call pkg,$(1),--libs)
endef

.SECONDARY:

install: all ## PREFIX=/usr/local, DESTDIR=: cellctl into bin, the daemons into libexec/cellos, units into lib/systemd
	install -d $(DESTDIR)$(PREFIX)/bin $(DESTDIR)$(PREFIX)/libexec/cellos
	install -m 755 $(B)/bin/cellctl $(DESTDIR)$(PREFIX)/bin
	install -m 755 $(filter-out %/cellctl,$(BINS)) $(DESTDIR)$(PREFIX)/libexec/cellos
	install -d $(DESTDIR)$(PREFIX)/lib/systemd/system $(DESTDIR)$(PREFIX)/share/cellos
	sed 's,@PREFIX@,$(PREFIX),' packaging/systemd/cellos-ship.service.in >$(DESTDIR)$(PREFIX)/lib/systemd/system/cellos-ship.service
	sed 's,@PREFIX@,$(PREFIX),' packaging/systemd/cellos-work.service.in >$(DESTDIR)$(PREFIX)/lib/systemd/system/cellos-work.service
	install -m 644 packaging/systemd/ship.env.example $(DESTDIR)$(PREFIX)/share/cellos

clean: ## remove everything that was built
	rm -rf $(B) $(B)-asan $(B)-clang $(B)-fuzz $(B)-vm $(B)-vm

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
	@echo; echo "  B=build is the build directory; V=1 prints commands; SAN=1 adds ASan and UBSan; CC=clang works too."

-include $(shell find $(B)/obj -name '*.d' 2>/dev/null)
