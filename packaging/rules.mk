.PHONY: deps
deps: ## install the Debian packages that building, tests and demo need
	$(Q)packaging/deps install

# Once per build directory: what the compiler needs is there, or one sentence says what to do.
$(B)/deps: packaging/debian-deps.txt
	@mkdir -p $(@D)
	$(Q)packaging/deps check build && touch $@
