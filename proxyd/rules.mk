PKGS_proxyd := libssl libnghttp2 libunbound libpsl
$(eval $(call program,cellos-proxyd,proxyd/main))
