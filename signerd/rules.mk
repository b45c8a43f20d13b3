$(eval $(call program,cellos-signerd,signerd/main))
