$(eval $(call program,cellos-proxyd,proxyd/main))
