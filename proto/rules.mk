# PROTOCOL.md is printed from the message tables by a host tool and committed; the check holds both against
# each other.
$(B)/tool/protocol_md: $(B)/obj/proto/tool/protocol_md.o $(B)/libproto.a $(B)/libcommon.a
	$(call link)
$(B)/PROTOCOL.md: $(B)/tool/protocol_md
	$(Q)$< >$@.new && mv $@.new $@
all: $(B)/PROTOCOL.md

.PHONY: protocol check-protocol
protocol: $(B)/PROTOCOL.md ## write proto/PROTOCOL.md anew from the message tables
	cp $< proto/PROTOCOL.md

check-protocol: $(B)/PROTOCOL.md ## proto/PROTOCOL.md is what the tables say
	$(Q)diff -u proto/PROTOCOL.md $< || { echo "proto/PROTOCOL.md is out of date: make protocol" >&2; exit 1; }
