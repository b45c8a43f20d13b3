# Only netd links libnftnl, which is under the GPL.
PKGS_netd := libnftnl libmnl
$(eval $(call program,cellos-netd,netd/main))
