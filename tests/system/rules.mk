# Debian 12's own kernel, systemd and cgroup controllers, in QEMU. VM_CASES=a,b runs only the cases with these words in their names.
.PHONY: check-vm
check-vm: deps ## the cases of tests/system in a virtual machine; the first time makes its root file system
	$(Q)$(MAKE) --no-print-directory all
	$(Q)rm -rf $(B)-vm/installed && $(MAKE) --no-print-directory -s DESTDIR=$(abspath $(B)-vm/installed) PREFIX=/usr/local install
	$(Q)tests/system/run $(abspath $(B)-vm/installed) $(B)-vm $(VM_CASES)
