# CellOS: top-level build. `make help` lists the targets; one rules.mk per folder adds the folder's own.
VERSION := $(shell cat VERSION)
B       ?= build
CC      ?= gcc
PREFIX  ?= /usr/local
V       ?= 0
Q       := $(if $(filter 1,$(V)),,@)

PKGS_common     := libsodium libseccomp libcrypto libsystemd
PKGS_netd       := libnftnl libmnl
PKGS_supervisor := jansson libpsl
pkg = $(if $(1),$(shell pkg-config $(2) $(1) 2>/dev/null))

WARN   := -Wall -Wextra -Wconversion -Wformat=2 -Wshadow -Wvla -Wstrict-prototypes -Wmissing-prototypes -Wundef -Werror
HARDEN := -O2 -D_FORTIFY_SOURCE=2 -fstack-protector-strong -fPIE -ftrivial-auto-var-init=zero
LHARD  := -pie -Wl,-z,relro,-z,now,-z,noexecstack
ifeq ($(SAN),1)
# The sanitizers need a few more system calls; -DCELLOS_SANITIZE adds them to the daemons' lists at build time only.
HARDEN := -O1 -g -fno-omit-frame-pointer -fsanitize=address,undefined -fno-sanitize-recover=all -fPIE -DCELLOS_SANITIZE
LHARD  := -pie -fsanitize=address,undefined
endif
CPPFLAGS += -I. -D_GNU_SOURCE -DCELLOS_VERSION='"$(VERSION)"'
CFLAGS   += -std=gnu17 -g $(WARN) $(HARDEN) $(call pkg,$(PKGS_common) $(PKGS_netd) $(PKGS_supervisor),--cflags)
LDFLAGS  += $(LHARD)
LDLIBS   := -lev -lmsgpackc $(call pkg,$(PKGS_common),--libs) -lpthread

FOLDERS := common proto supervisor netd proxyd signerd
objs     = $(patsubst %.c,$(B)/obj/%.o,$(1))
# Every .c below a folder belongs to its library, except main programs (main.c, cellctl.c) and host tools (tool/).
srcs     = $(filter-out $(1)/main.c $(1)/ctl/main.c $(1)/tool/%,$(wildcard $(1)/*.c $(1)/*/*.c))

.PHONY: all
all:

include $(wildcard $(addsuffix /rules.mk,$(FOLDERS) tests packaging))

BINS := $(addprefix $(B)/bin/,cellctl cellos-supervisor cellos-netd cellos-proxyd cellos-signerd)
all: $(BINS)

define folder_lib
$(B)/lib$(1).a: $(call objs,$(call srcs,$(1)))
	@mkdir -p $$(@D)
	$$(Q)rm -f $$@ && ar rcs $$@ $$^
endef
$(foreach f,$(FOLDERS),$(eval $(call folder_lib,$(f))))

define link
	@mkdir -p $(@D)
	@[ $(V) = 1 ] || echo "  LINK  $@"
	$(Q)$(CC) $(LDFLAGS) -o $@ $(filter %.o %.a,$^) $(LDLIBS) $(1)
endef

$(B)/bin/cellctl: $(B)/obj/supervisor/ctl/main.o $(B)/libsupervisor.a $(B)/libproto.a $(B)/libcommon.a
	$(call link,$(call pkg,$(PKGS_supervisor),--libs))
$(B)/bin/cellos-supervisor: $(B)/obj/supervisor/main.o $(B)/libsupervisor.a $(B)/libproto.a $(B)/libcommon.a
	$(call link,$(call pkg,$(PKGS_supervisor),--libs))
$(B)/bin/cellos-netd: $(B)/obj/netd/main.o $(B)/libnetd.a $(B)/libproto.a $(B)/libcommon.a
	$(call link,$(call pkg,$(PKGS_netd),--libs))
$(B)/bin/cellos-proxyd: $(B)/obj/proxyd/main.o $(B)/libproxyd.a $(B)/libproto.a $(B)/libcommon.a
	$(call link)
$(B)/bin/cellos-signerd: $(B)/obj/signerd/main.o $(B)/libsignerd.a $(B)/libproto.a $(B)/libcommon.a
	$(call link)

$(B)/obj/%.o: %.c
	@mkdir -p $(@D)
	@[ $(V) = 1 ] || echo "  CC    $<"
	$(Q)$(CC) $(CPPFLAGS) $(CFLAGS) -MMD -MP -c -o $@ $<

# Unit tests: tests/unit/test_<folder>_<module>.c is one cmocka program, linked with its folder's library.
UNIT_SRC  := $(wildcard tests/unit/test_*.c)
UNIT_BINS := $(patsubst tests/unit/%.c,$(B)/unit/%,$(UNIT_SRC))
define unit_rule
$(B)/unit/test_$(1)_%: $(B)/obj/tests/unit/test_$(1)_%.o $(if $(filter-out common proto,$(1)),$(B)/lib$(1).a) $(B)/libproto.a $(B)/libcommon.a
	$$(call link,-lcmocka $$(call pkg,$$(PKGS_$(1)),--libs))
endef
$(foreach f,$(FOLDERS),$(eval $(call unit_rule,$(f))))
.PHONY: unit
.SECONDARY:
unit: $(UNIT_BINS)
	$(Q)set -e; for t in $(UNIT_BINS); do echo "  UNIT  $$t"; $$t >$$t.log 2>&1 || { cat $$t.log; exit 1; }; done

.PHONY: clean
clean:
	rm -rf $(B)

-include $(shell find $(B)/obj -name '*.d' 2>/dev/null)
