JOBS         ?= $(shell nproc)
FUZZ_SECONDS ?= 12
CLANG_FORMAT := clang-format-14
CLANG_TIDY   := clang-tidy-14
RUN          := tests/run --jobs $(JOBS)

.PHONY: unit unit-build check check-asan check-layers check-cleanup check-clang demo bench bench-build
.PHONY: format format-check lint tidy cppcheck fuzz fuzz-build fuzz-smoke

# ---- unit: tests/unit/test_<folder>_<module>.c is one cmocka program, linked with its folder's library ----
UNIT_BINS := $(patsubst tests/unit/%.c,$(B)/unit/%,$(wildcard tests/unit/test_*.c))
define unit_rule
$(B)/unit/test_$(1)_%: $(B)/obj/tests/unit/test_$(1)_%.o $(if $(filter $(DAEMONS),$(1)),$(B)/lib$(1).a) $(B)/libproto.a $(B)/libcommon.a
	$$(call link,$$(PKGS_$(1)) cmocka)
endef
$(foreach f,$(FOLDERS),$(eval $(call unit_rule,$(f))))
unit-build: $(UNIT_BINS)
unit: unit-build ## build and run the unit tests
	$(Q)$(RUN) unit $(UNIT_BINS)

# ---- everything ----
check: deps ## install what is needed, build, run every test and every check
	$(Q)$(RUN) --build $(B) --seconds $(FUZZ_SECONDS) check
check-asan: deps ## unit tests and pytest with ASan and UBSan, in $(B)-asan
	$(Q)$(RUN) --build $(B) asan
check-clang: ## clang builds everything without a warning, in $(B)-clang
	$(Q)$(MAKE) --no-print-directory B=$(B)-clang CC=clang all unit-build bench-build

demo: deps ## build and show a real run
	$(Q)$(MAKE) --no-print-directory all
	$(Q)tests/demo/run $(B)/bin
bench: deps ## build and measure, beside bwrap and runsc
	$(Q)$(MAKE) --no-print-directory all bench-build
	$(Q)tests/bench/run $(B)/bin

# A program outside the folders links the libraries of the folders whose headers it includes.
folders_of = $(sort $(filter $(DAEMONS),$(shell sed -n 's,^.include "\([a-z]*\)/.*,\1,p' $(1))))
define stray_program
$(B)/$(1): $(B)/obj/tests/$(1).o $(foreach f,$(2),$(B)/lib$(f).a) $(B)/libproto.a $(B)/libcommon.a
	$$(call link,$(foreach f,$(2),$(PKGS_$(f))))
endef
strays = $(foreach n,$(1),$(eval $(call stray_program,$(n),$(call folders_of,tests/$(n).c))))

BENCH_BINS := $(patsubst tests/%.c,$(B)/%,$(wildcard tests/bench/*.c))
$(call strays,$(patsubst tests/%.c,%,$(wildcard tests/bench/*.c)))
bench-build: $(BENCH_BINS) $(B)/bin/bench-cells
# It starts a suite as cellctl does, and so looks for the daemons beside itself.
$(B)/bin/bench-cells: $(B)/bench/cells | $(B)/bin/cellctl
	$(Q)cp $< $@

# ---- checks of the source ----
SOURCES := $(wildcard $(foreach f,$(FOLDERS) tests,$(f)/*.c $(f)/*/*.c))
HEADERS := $(wildcard $(foreach f,$(FOLDERS) tests,$(f)/*.h $(f)/*/*.h))

check-layers: ## common includes only itself, proto only common, no daemon another one
	$(Q)tests/check-layers $(FOLDERS)

check-cleanup: ## owned variables are initialised where they are declared
	$(Q)tests/check-cleanup $(SOURCES)

format: ## clang-format every .c and .h
	$(Q)$(CLANG_FORMAT) -i $(SOURCES) $(HEADERS)
format-check:
	$(Q)$(CLANG_FORMAT) --dry-run -Werror $(SOURCES) $(HEADERS)

lint: ## clang-tidy and cppcheck
	$(Q)$(MAKE) --no-print-directory -k -j$(JOBS) tidy cppcheck

# The object knows the headers, so a file is looked at again exactly when it would be compiled again.
tidy: $(patsubst %.c,$(B)/tidy/%.ok,$(SOURCES))
$(B)/tidy/%.ok: %.c $(B)/obj/%.o .clang-tidy
	@mkdir -p $(@D)
	$(call say,TIDY  $<)
	$(Q)$(CLANG_TIDY) --quiet $< -- $(CPPFLAGS) $(LANGUAGE) 2>$@.err || { cat $@.err; exit 1; }
	@touch $@

cppcheck:
	@mkdir -p $(B)/cppcheck
	$(Q)cppcheck --quiet -j$(JOBS) --cppcheck-build-dir=$(B)/cppcheck --error-exitcode=1 --std=c11 --library=posix \
	    --enable=warning,performance,portability --inline-suppr --suppressions-list=tests/cppcheck.suppress \
	    -D__linux__ -D__x86_64__ -D__GNUC__=12 $(CPPFLAGS) $(SOURCES)

# ---- fuzz: tests/fuzz/fuzz_<name>.c, its corpus in tests/fuzz/corpus/<name> ----
FUZZ_NAMES := $(patsubst tests/fuzz/%.c,%,$(wildcard tests/fuzz/fuzz_*.c))
ifeq ($(FUZZ),1)
$(call strays,$(addprefix fuzz/,$(FUZZ_NAMES)))
fuzz-build: $(addprefix $(B)/fuzz/,$(FUZZ_NAMES))
else
fuzz-build:
	$(Q)$(MAKE) --no-print-directory B=$(B)-fuzz CC=clang FUZZ=1 fuzz-build
endif
fuzz: fuzz-build ## every fuzzer, FUZZ_SECONDS=12 each, two at a time; FUZZER=name for one
	$(Q)$(RUN) --build $(B) --seconds $(FUZZ_SECONDS) fuzz $(if $(FUZZER),fuzz_$(FUZZER),$(FUZZ_NAMES))
fuzz-smoke: fuzz

# ---- tests/priv: one program that plays the siblings of a daemon ----
$(B)/bin-test/peer: $(patsubst %.c,$(B)/obj/%.o,$(wildcard tests/priv/*.c)) $(B)/libproto.a $(B)/libcommon.a
	$(call link,)
unit-build: $(B)/bin-test/peer
