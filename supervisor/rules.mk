PKGS_supervisor := jansson libpsl libnats libcurl
$(eval $(call program,cellos-supervisor,supervisor/main))
$(eval $(call program,cellctl,supervisor/ctl/main))
# .incbin: the page's sources are in this object, and no compiler says so.
$(B)/obj/supervisor/ctl/report_page.o: $(wildcard supervisor/ctl/report/*)
