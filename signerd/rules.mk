# p11-kit-1: the types of PKCS#11 only; nothing of it is linked
PKGS_signerd := p11-kit-1
$(eval $(call program,cellos-signerd,signerd/main))
