PKGS_supervisor := jansson libpsl libnats
$(eval $(call program,cellos-supervisor,supervisor/main))
$(eval $(call program,cellctl,supervisor/ctl/main))
