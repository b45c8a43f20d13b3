PKGS_supervisor := jansson libpsl
$(eval $(call program,cellos-supervisor,supervisor/main))
$(eval $(call program,cellctl,supervisor/ctl/main))
