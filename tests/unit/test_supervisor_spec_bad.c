/* SPDX-License-Identifier: MIT */
/* Documents that must be refused, each with the exact text of all its violations. Single quotes stand for
 * double quotes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "proto/limits.h"
#include "supervisor/spec/parse.h"

#define HEAD         "{'apiVersion':'cellos.io/v1','kind':'ExecutionCell','spec':"
#define DOC(spec)    HEAD spec "}"
#define S(members)   DOC("{'id':'a','authority':{'secretRefs':[]},'lifetime':{'ttlSeconds':60}," members "}")
#define ID(id)       DOC("{'id':" id ",'authority':{'secretRefs':[]},'lifetime':{'ttlSeconds':60}}")
#define TTL(ttl)     DOC("{'id':'a','authority':{'secretRefs':[]},'lifetime':" ttl "}")
#define AUTH(object) DOC("{'id':'a','authority':" object ",'lifetime':{'ttlSeconds':60}}")
#define A(members)   AUTH("{'secretRefs':[]," members "}")
#define SECRETS(l)   AUTH("{'secretRefs':" l "}")
#define E(members)   A("'egressRules':[{" members "}]")
#define HOST(host)   E("'host':" host ",'port':443")
#define PORT(port)   E("'host':'a.test','port':" port)
#define D(members)   A("'dnsAuthority':{" members "}")
#define RESOLVER(m)  D("'resolvers':[{" m "}]")
#define DOH(url)     RESOLVER("'resolverId':'r','protocol':'doh','endpoint':'" url "'")
#define UDP(more)    RESOLVER("'resolverId':'r','protocol':'do53-udp','endpoint':'1.2.3.4:53'," more)
#define CDN(m)       A("'cdnAuthority':{'providers':[{" m "}]}")
#define ANSWER(text) D("'rebindingPolicy':{'responseIpAllowlist':[" text "]}")
#define F(members)   A("'filesystem':{" members "}")
#define RO(path)     F("'readOnly':[" path "]")
#define R(members)   S("'run':{'argv':['true']," members "}")
#define ARGV(argv)   S("'run':{'argv':" argv "}")
#define LIMITS(m)    R("'limits':{" m "}")
#define EXPORT(m)    S("'export':{'artifacts':[{" m "}]}")
#define CORR(m)      S("'correlation':{" m "}")

#define UNSUPPORTED "not supported by this version"
#define HOST_AT     "spec.authority.egressRules[0].host: "
#define PORT_AT     "spec.authority.egressRules[0].port: "
#define DNS_AT      "spec.authority.dnsAuthority."
#define CDN_AT      "spec.authority.cdnAuthority.providers"
#define QUOTA_AT    "spec.authority.egressQuota."
#define PATH_RULE   "must have no query, fragment or character that a path may not have"
#define RO_AT       "spec.authority.filesystem.readOnly[0]: "
#define NORMAL      "must not have an empty, \".\" or \"..\" component or end in \"/\""
#define SUFFIX      "must not have a wildcard right below a public suffix"
#define PORT_RANGE  "must be a number, or a range such as \"8000-8100\" between 1 and 65535"
#define ID_RULE     "must match [A-Za-z0-9][A-Za-z0-9._-]{0,127}"
#define PREFIX_RULE "must be an address, or a CIDR prefix with no host bits set, e.g. 192.0.2.0/24"
#define ANSWER_RULE "must be an IPv4 or IPv6 address, or a prefix such as 192.0.2.0/24 with no host bits set"

static const struct {
    const char *document;
    const char *want; /* every violation, one a line */
} rows[] = {
    /* the text itself */
    {"", "document: must not be empty"},
    {" ", "document: line 1, column 1: unexpected token near end of file"},
    {"{", "document: line 1, column 1: string or '}' expected near end of file"},
    {"{'a':1,\n 'b'}", "document: line 2, column 5: ':' expected near '}'"},
    {"{'a':1,}", "document: line 1, column 8: string or '}' expected near '}'"},
    {"{'a':1,'a':2}", "document: line 1, column 10: an object has the same key twice near '\"a\"'"},
    {"{'a':{'b':1,'c':2,'b':3}}",
     "document: line 1, column 21: an object has the same key twice near '\"b\"'"},
    {"{} x", "document: line 1, column 4: more text follows the document near 'x'"},
    {"{}{}", "document: line 1, column 3: more text follows the document near '{'"},
    {"{'a':'\\u0000'}", "document: line 1, column 13: a string must not contain NUL near '\"\\x5cu0000\"'"},
    {"{'\\u0000':1}", "document: line 1, column 9: a string must not contain NUL near '\"\\x5cu0000\"'"},
    {"{'a':99999999999999999999}", "document: line 1, column 25: a number is too large (integers have 64 "
                                   "bits) near '99999999999999999999'"},
    {"{'a':1e999}",
     "document: line 1, column 10: a number is too large (integers have 64 bits) near '1e999'"},
    {"{'a':01}", "document: line 1, column 6: invalid token near '0'"},
    {"{'a':'\t'}", "document: line 1, column 6: control character 0x9 near '\"'"},
    {"nope", "document: line 1, column 4: invalid token near 'nope'"},
    {"\xef\xbb\xbf{}", "document: line 1, column 1: invalid token near '\\xef\\xbb\\xbf'"},
    {"{'a':'\xff'}", "document: must be UTF-8 text"},
    {"{'a':'\xc0\x80'}", "document: must be UTF-8 text"},
    {"{'a':'\xed\xa0\x80'}", "document: must be UTF-8 text"},

    /* the document */
    {"[1]", "document: must be an object, not an array"},
    {"'x'", "document: must be an object, not a string"},
    {"null", "document: must be an object, not null"},
    {"3", "document: must be an object, not an integer"},
    {"{}", "apiVersion: is required\nkind: is required\nspec: is required"},
    {"{'apiVersion':'cellos.io/v2','kind':'Cell','spec':[]}",
     "apiVersion: must be \"cellos.io/v1\"\nkind: must be \"ExecutionCell\"\nspec: must be an object, not an "
     "array"},
    {"{'apiversion':'cellos.io/v1','kind':3,'spec':null}",
     "apiversion: unknown key, did you mean \"apiVersion\"?\napiVersion: is required\n"
     "kind: must be a string, not an integer\nspec: must be an object, not null"},
    {DOC("{}"), "spec.id: is required\nspec.authority: is required\nspec.lifetime: is required"},
    {S("'x':1"), "spec.x: unknown key"},
    {S("'rum':{}"), "spec.rum: unknown key, did you mean \"run\"?"},
    {S("'':1"), "spec[\"\"]: unknown key"},
    {S("'a\\nb.c':1"), "spec[\"a\\x0ab.c\"]: unknown key"},
    {S("'\xc3\xa9':1"), "spec[\"\xc3\xa9\"]: unknown key"},
    {S("'metadata':{}"), "spec.metadata: unknown key"},

    /* id */
    {ID("''"), "spec.id: must not be empty"},
    {ID("7"), "spec.id: must be a string, not an integer"},
    {ID("null"), "spec.id: must be a string, not null"},
    {ID("'.a'"), "spec.id: " ID_RULE},
    {ID("'-a'"), "spec.id: " ID_RULE},
    {ID("'a b'"), "spec.id: " ID_RULE},
    {ID("'a/b'"), "spec.id: " ID_RULE},
    {ID("'a..b'"), "spec.id: must not contain \"..\""},
    {ID("'\xc3\xa9'"), "spec.id: " ID_RULE},
    {ID("'a\\u0001'"), "spec.id: must not contain control characters"},

    /* lifetime */
    {TTL("{}"), "spec.lifetime.ttlSeconds: is required"},
    {TTL("{'ttlSeconds':0}"), "spec.lifetime.ttlSeconds: must be between 1 and 31536000, not 0"},
    {TTL("{'ttlSeconds':-1}"), "spec.lifetime.ttlSeconds: must be between 1 and 31536000, not -1"},
    {TTL("{'ttlSeconds':31536001}"),
     "spec.lifetime.ttlSeconds: must be between 1 and 31536000, not 31536001"},
    {TTL("{'ttlSeconds':1.0}"), "spec.lifetime.ttlSeconds: must be an integer, not a real number"},
    {TTL("{'ttlSeconds':'60'}"), "spec.lifetime.ttlSeconds: must be an integer, not a string"},
    {TTL("{'ttlSeconds':true}"), "spec.lifetime.ttlSeconds: must be an integer, not a boolean"},
    {TTL("{'ttl':5}"), "spec.lifetime.ttl: unknown key\nspec.lifetime.ttlSeconds: is required"},
    {TTL("60"), "spec.lifetime: must be an object, not an integer"},

    /* secretRefs */
    {AUTH("{}"), "spec.authority.secretRefs: is required"},
    {AUTH("[]"), "spec.authority: must be an object, not an array"},
    {SECRETS("{}"), "spec.authority.secretRefs: must be an array, not an object"},
    {SECRETS("['']"), "spec.authority.secretRefs[0]: must not be empty"},
    {SECRETS("[3,'x']"), "spec.authority.secretRefs[0]: must be a string, not an integer"},
    {SECRETS("['a.b']"), "spec.authority.secretRefs[0]: must match [A-Za-z0-9][A-Za-z0-9_-]{0,63}"},
    {SECRETS("['_a']"), "spec.authority.secretRefs[0]: must match [A-Za-z0-9][A-Za-z0-9_-]{0,63}"},
    {SECRETS("['a','b','a']"), "spec.authority.secretRefs[2]: must be unique"},
    {SECRETS("['a-b','A_B']"), "spec.authority.secretRefs[1]: has the same broker variable as entry 0"},
    {SECRETS("['PATH']"), "spec.authority.secretRefs[0]: is a reserved name"},
    {SECRETS("['CELLOS_X']"), "spec.authority.secretRefs[0]: is a reserved name"},
    {SECRETS("['file-x']"), "spec.authority.secretRefs[0]: is a reserved name"},
    {A("'egressRule':[]"), "spec.authority.egressRule: unknown key, did you mean \"egressRules\"?"},

    /* egressRules */
    {A("'egressRules':{}"), "spec.authority.egressRules: must be an array, not an object"},
    {A("'egressRules':['a']"), "spec.authority.egressRules[0]: must be an object, not a string"},
    {E(""), HOST_AT "is required\n" PORT_AT "is required"},
    {E("'hots':'a','port':1"),
     "spec.authority.egressRules[0].hots: unknown key, did you mean \"host\"?\n" HOST_AT "is required"},
    {HOST("''"), HOST_AT "must not be empty"},
    {HOST("'*.com'"), HOST_AT SUFFIX},
    {HOST("'*.com.'"), HOST_AT SUFFIX},
    {HOST("'*.co.uk'"), HOST_AT SUFFIX},
    {HOST("'*.CO.UK'"), HOST_AT SUFFIX},
    {HOST("'*.github.io'"), HOST_AT SUFFIX},
    {HOST("'*.test'"), HOST_AT SUFFIX},
    {HOST("'*'"),
     HOST_AT "may have \"*\" only as its whole first label, before a name of at least two labels"},
    {HOST("'a.*.test'"),
     HOST_AT "may have \"*\" only as its whole first label, before a name of at least two labels"},
    {HOST("'*a.b.test'"),
     HOST_AT "may have \"*\" only as its whole first label, before a name of at least two labels"},
    {HOST("'b\xc3\xbc"
          "cher.test'"),
     HOST_AT "must be ASCII: write the name's A-label form (xn--...)"},
    {HOST("'a_b.test'"), HOST_AT "must consist of letters, digits, hyphens and dots"},
    {HOST("'a b.test'"), HOST_AT "must consist of letters, digits, hyphens and dots"},
    {HOST("'-a.test'"), HOST_AT "must have labels of 1 to 63 bytes that neither begin nor end with a hyphen"},
    {HOST("'a..test'"), HOST_AT "must have labels of 1 to 63 bytes that neither begin nor end with a hyphen"},
    {HOST("'https://a.test/'"), HOST_AT "must be a host name or an address, not a URL"},
    {HOST("'10.0.0.1/8'"), HOST_AT PREFIX_RULE},
    {HOST("'10.0.0.0/33'"), HOST_AT PREFIX_RULE},
    {HOST("'169.254.169.254'"), HOST_AT "is of the class \"metadata\", which no spec can allow"},
    {HOST("'fd00:ec2::254'"), HOST_AT "is of the class \"metadata\", which no spec can allow"},
    {HOST("'0.0.0.0'"), HOST_AT "is of the class \"unspecified\", which no spec can allow"},
    {HOST("'224.0.0.1'"), HOST_AT "is of the class \"multicast\", which no spec can allow"},
    {HOST("['a']"), HOST_AT "must be a string, not an array"},
    {PORT("0"), PORT_AT "must be between 1 and 65535, not 0"},
    {PORT("65536"), PORT_AT "must be between 1 and 65535, not 65536"},
    {PORT("443.0"), PORT_AT "must be an integer or a string, not a real number"},
    {PORT("null"), PORT_AT "must be an integer or a string, not null"},
    {PORT("'443'"), PORT_AT PORT_RANGE},
    {PORT("'9-8'"), PORT_AT PORT_RANGE},
    {PORT("'0-8'"), PORT_AT PORT_RANGE},
    {PORT("'1-65536'"), PORT_AT PORT_RANGE},
    {PORT("' 1-2'"), PORT_AT PORT_RANGE},
    {PORT("'1-2-3'"), PORT_AT PORT_RANGE},
    {PORT("'http'"), PORT_AT PORT_RANGE},
    {PORT("443,'protocol':'any'"),
     "spec.authority.egressRules[0].protocol: must be one of tls, https, http, h2c, "
     "quic, tcp, udp, not \"any\""},
    {PORT("443,'protocol':'TLS'"),
     "spec.authority.egressRules[0].protocol: must be one of tls, https, http, h2c, "
     "quic, tcp, udp, not \"TLS\""},
    {PORT("443,'dnsEgressJustification':''"),
     "spec.authority.egressRules[0].dnsEgressJustification: must not be empty"},

    /* dnsAuthority */
    {A("'dnsAuthority':[]"), "spec.authority.dnsAuthority: must be an object, not an array"},
    {D("'resolvers':[]"), DNS_AT "resolvers: must not be empty"},
    {RESOLVER(""), DNS_AT "resolvers[0].resolverId: is required\n" DNS_AT
                          "resolvers[0].protocol: is required\n" DNS_AT "resolvers[0].endpoint: is required"},
    {RESOLVER("'resolverId':'r','protocol':'udp','endpoint':'1.2.3.4:53'"),
     DNS_AT "resolvers[0].protocol: must be one of do53-udp, do53-tcp, dot, doh, doq, not \"udp\""},
    {RESOLVER("'resolverId':'r','protocol':'do53-udp','endpoint':'1.2.3.4'"),
     DNS_AT "resolvers[0].endpoint: must be IP:PORT or [IPv6]:PORT"},
    {RESOLVER("'resolverId':'r','protocol':'do53-udp','endpoint':'::1:53'"),
     DNS_AT "resolvers[0].endpoint: must be IP:PORT or [IPv6]:PORT"},
    {RESOLVER("'resolverId':'r','protocol':'do53-udp','endpoint':'dns.test:53'"),
     DNS_AT "resolvers[0].endpoint: must be IP:PORT or [IPv6]:PORT"},
    {RESOLVER("'resolverId':'r','protocol':'doq','endpoint':'1.2.3.4:853'"),
     DNS_AT "resolvers[0].protocol: doq: no DNS-over-QUIC client library exists in Debian 12"},
    {RESOLVER("'resolverId':'r','protocol':'dot','endpoint':'dns.test:853'"),
     DNS_AT "resolvers[0].endpoint: must be IP:PORT or [IPv6]:PORT"},
    {DOH("1.2.3.4:443"), DNS_AT "resolvers[0].endpoint: must be an https:// URL"},
    {DOH("http://d.test/q"), DNS_AT "resolvers[0].endpoint: must be an https:// URL"},
    {DOH("https://"), DNS_AT "resolvers[0].endpoint: must be an https:// URL"},
    {DOH("https:///q"), DNS_AT "resolvers[0].endpoint: must not be empty"},
    {DOH("https://u:p@d.test/q"), DNS_AT "resolvers[0].endpoint: must not have a user name"},
    {DOH("https://d.test/q?a=b"), DNS_AT "resolvers[0].endpoint: " PATH_RULE},
    {DOH("https://d.test/q#f"), DNS_AT "resolvers[0].endpoint: " PATH_RULE},
    {DOH("https://d.test/{?dns}/q"), DNS_AT "resolvers[0].endpoint: " PATH_RULE},
    {DOH("https://d.test:0/q"),
     DNS_AT "resolvers[0].endpoint: must have a port from 1 to 65535 behind the \":\""},
    {DOH("https://d.test:/q"),
     DNS_AT "resolvers[0].endpoint: must have a port from 1 to 65535 behind the \":\""},
    {DOH("https://d_e.test/q"),
     DNS_AT "resolvers[0].endpoint: must consist of letters, digits, hyphens and dots"},
    {DOH("https://1.2.3/q"),
     DNS_AT "resolvers[0].endpoint: must be a name: this is an IP address, or would be taken for one"},
    {DOH("https://[1.2.3.4]/q"), DNS_AT "resolvers[0].endpoint: must have only IPv6 addresses in brackets"},
    {DOH("https://::1/q"), DNS_AT "resolvers[0].endpoint: must consist of letters, digits, hyphens and dots"},
    {UDP("'dnssec':{'validate':1}"),
     DNS_AT "resolvers[0].dnssec.failClosed: is required\n" DNS_AT
            "resolvers[0].dnssec.validate: must be a boolean, not an integer"},
    {UDP("'dnssec':{'validate':false,'failClosed':true}"),
     DNS_AT "resolvers[0].dnssec.failClosed: needs \"validate\": true"},
    {UDP("'dnssec':{'validate':false,'failClosed':false,'trustAnchorsPath':'/a'}"),
     DNS_AT "resolvers[0].dnssec.trustAnchorsPath: needs \"validate\": true"},
    {UDP("'dnssec':{'validate':true,'failClosed':false,'trustAnchorsPath':'a'}"),
     DNS_AT "resolvers[0].dnssec.trustAnchorsPath: must be an absolute path"},
    {UDP("'dnssec':{'validate':true,'failClosed':true,'anchors':'/a'}"),
     DNS_AT "resolvers[0].dnssec.anchors: unknown key"},
    {UDP("'tlsServerName':'d.test'"),
     DNS_AT "resolvers[0].tlsServerName: is only for the protocols dot and doh"},
    {RESOLVER("'resolverId':'r','protocol':'dot','endpoint':'1.2.3.4:853','tlsServerName':'*.d.test'"),
     DNS_AT "resolvers[0].tlsServerName: may have \"*\" only as its whole first label, before a name of at "
            "least two labels"},
    {D("'resolvers':[{'resolverId':'r','protocol':'do53-udp','endpoint':'1.2.3.4:53'},"
       "{'resolverId':'r','protocol':'do53-tcp','endpoint':'1.2.3.5:53'}]"),
     DNS_AT "resolvers[1].resolverId: must be unique"},
    {D("'hostnameAllowlist':['*.com','10.0.0.1','a.test',3]"),
     DNS_AT "hostnameAllowlist[0]: " SUFFIX "\n" DNS_AT
            "hostnameAllowlist[1]: must be a name: this is an IP address, or would be taken for one\n" DNS_AT
            "hostnameAllowlist[3]: must be a string, not an integer"},
    {D("'allowedQueryTypes':['a','ANY','AXFR','A','A']"),
     DNS_AT "allowedQueryTypes[0]: must be a DNS data type in upper case, such as \"A\" or \"HTTPS\"\n" DNS_AT
            "allowedQueryTypes[1]: must be a DNS data type in upper case, such as \"A\" or \"HTTPS\"\n" DNS_AT
            "allowedQueryTypes[2]: must be a DNS data type in upper case, such as \"A\" or \"HTTPS\"\n" DNS_AT
            "allowedQueryTypes[4]: is listed twice"},
    {D("'refreshPolicy':{'strategy':'never'}"),
     DNS_AT "refreshPolicy.strategy: must be one of ttl-honor, manual, not \"never\""},
    {D("'refreshPolicy':{'minTtlSeconds':604801,'maxStaleSeconds':-1}"),
     DNS_AT "refreshPolicy.minTtlSeconds: must be between 0 and 604800, not 604801\n" DNS_AT
            "refreshPolicy.maxStaleSeconds: must be between 0 and 604800, not -1"},
    {D("'rebindingPolicy':{'maxNovelIpsPerHostname':0}"),
     DNS_AT "rebindingPolicy.maxNovelIpsPerHostname: must be between 1 and 65535, not 0"},
    {D("'rebindingPolicy':{'rejectOnRebind':true}"),
     DNS_AT "rebindingPolicy.rejectOnRebind: needs \"maxNovelIpsPerHostname\" or \"responseIpAllowlist\": "
            "there is nothing to reject"},
    {D("'answerMode':'fake'"), DNS_AT "answerMode: must be one of real, synthetic, not \"fake\""},
    {ANSWER("'a.test'"),
     DNS_AT "rebindingPolicy.responseIpAllowlist[0]: must be HOST:ADDRESS or HOST:PREFIX"},
    {ANSWER("'a.test:10.0.0.1/8'"), DNS_AT "rebindingPolicy.responseIpAllowlist[0]: " ANSWER_RULE},
    {ANSWER("'a.test:10.0.0.1:53'"), DNS_AT "rebindingPolicy.responseIpAllowlist[0]: " ANSWER_RULE},
    {ANSWER("'a.test:169.254.169.254'"),
     DNS_AT "rebindingPolicy.responseIpAllowlist[0]: is of the class \"metadata\", which no spec can allow"},
    {ANSWER("':10.0.0.1'"), DNS_AT "rebindingPolicy.responseIpAllowlist[0]: must not be empty"},
    {ANSWER("'*.com:10.0.0.1'"), DNS_AT "rebindingPolicy.responseIpAllowlist[0]: " SUFFIX},

    /* cdnAuthority, authorityDerivation */
    {A("'cdnAuthority':{}"), "spec.authority.cdnAuthority.providers: is required"},
    {CDN("'providerId':'p','hostnamePatterns':[]"), CDN_AT "[0].hostnamePatterns: must not be empty"},
    {CDN("'providerId':'-','hostnamePatterns':['*.com','10.0.0.1']"),
     CDN_AT "[0].providerId: " ID_RULE "\n" CDN_AT "[0].hostnamePatterns[0]: " SUFFIX "\n" CDN_AT
            "[0].hostnamePatterns[1]: must be a name: this is an IP address, or would be taken for one"},
    {CDN("'providerId':'p','hostnamePatterns':['a.test']},{'providerId':'p','hostnamePatterns':['b.test']"),
     CDN_AT "[1].providerId: must be unique"},

    /* egressQuota */
    {A("'egressQuota':5"), "spec.authority.egressQuota: must be an object, not an integer"},
    {A("'egressQuota':{'maxConnections':0,'maxBytes':0,'maxBytesPerSecond':-1,'bytes':1}"),
     QUOTA_AT "bytes: unknown key\n" QUOTA_AT "maxConnections: must be between 1 and 1024, not 0\n" QUOTA_AT
              "maxBytes: must be between 1 and 9223372036854775807, not 0\n" QUOTA_AT
              "maxBytesPerSecond: must be between 1 and 9223372036854775807, not -1"},
    {A("'egressQuota':{'maxConnections':1025}"),
     QUOTA_AT "maxConnections: must be between 1 and 1024, not 1025"},
    {A("'authorityDerivation':{'leaf':'x'}"), "spec.authority.authorityDerivation: " UNSUPPORTED},
    {A("'authorityDerivation':'x'"), "spec.authority.authorityDerivation: must be an object, not a string"},

    /* filesystem */
    {F("'root':'/srv/image'"), "spec.authority.filesystem.root: " UNSUPPORTED},
    {F("'root':'guest'"), "spec.authority.filesystem.root: must be \"host\" or an absolute path"},
    {F("'hidden':['/opt/x']"), "spec.authority.filesystem.hidden: " UNSUPPORTED},
    {RO("'etc'"), RO_AT "must be an absolute path"},
    {RO("'/'"), RO_AT "must not be the whole file system"},
    {RO("'/a/'"), RO_AT NORMAL},
    {RO("'//a'"), RO_AT NORMAL},
    {RO("'/a/./b'"), RO_AT NORMAL},
    {RO("'/a/../b'"), RO_AT NORMAL},
    {RO("'/proc'"), RO_AT "must not be in /proc: a cell has its own"},
    {RO("'/sys/fs/cgroup'"), RO_AT "must not be in /sys: a cell has its own"},
    {RO("'/dev/mem'"), RO_AT "must not be in /dev: a cell has its own"},
    {RO("'/var/lib/suite'"), RO_AT "must not be in a state or runtime directory of the suite"},
    {RO("'/var/lib/suite/log'"), RO_AT "must not be in a state or runtime directory of the suite"},
    {RO("'/a','/a'"), "spec.authority.filesystem.readOnly[1]: is listed twice"},
    {F("'readOnly':['/a'],'readWrite':['/a']"), "spec.authority.filesystem.readWrite[0]: is listed twice"},
    {F("'tmpfsMaxBytes':1"),
     "spec.authority.filesystem.tmpfsMaxBytes: must be between 65536 and 67108864, not 1"},
    {F("'readonly':[]"), "spec.authority.filesystem.readonly: unknown key, did you mean \"readOnly\"?"},

    /* run */
    {S("'run':{}"), "spec.run.argv: is required"},
    {ARGV("[]"), "spec.run.argv: must not be empty"},
    {ARGV("['']"), "spec.run.argv[0]: must not be empty"},
    {ARGV("'ls'"), "spec.run.argv: must be an array, not a string"},
    {ARGV("['a',null,1]"),
     "spec.run.argv[1]: must be a string, not null\nspec.run.argv[2]: must be a string, not an integer"},
    {R("'env':{}"), "spec.run.env: unknown key"},
    {R("'workingDirectory':'x'"), "spec.run.workingDirectory: must be an absolute path"},
    {R("'workingDirectory':'/dev/shm'"),
     "spec.run.workingDirectory: must not be in /dev: a cell has its own"},
    {R("'secretDelivery':'file'"),
     "spec.run.secretDelivery: must be one of env, runtimeBroker, runtimeLeasedBroker, not \"file\""},
    {R("'secretDelivery':'runtimeBroker'"), "spec.run.secretDelivery: " UNSUPPORTED},
    {R("'secretDelivery':'runtimeLeasedBroker'"), "spec.run.secretDelivery: " UNSUPPORTED},
    {R("'timeoutMs':0"), "spec.run.timeoutMs: must be between 1 and 31536000000, not 0"},
    {R("'backend':'docker'"), "spec.run.backend: must be one of process, gvisor, microvm, not \"docker\""},
    {R("'backend':'gvisor'"), "spec.run.backend: " UNSUPPORTED},
    {R("'backend':'microvm'"), "spec.run.backend: " UNSUPPORTED},
    {R("'seccomp':'none'"), "spec.run.seccomp: must be \"baseline\" or an absolute path"},
    {R("'seccomp':'/etc/f.json'"), "spec.run.seccomp: " UNSUPPORTED},
    {LIMITS("'memoryMaxBytes':1"),
     "spec.run.limits.memoryMaxBytes: must be between 1048576 and 9223372036854775807, not 1"},
    {LIMITS("'pidsMax':0"), "spec.run.limits.pidsMax: must be between 1 and 4194304, not 0"},
    {LIMITS("'cpuMax':{}"), "spec.run.limits.cpuMax.quotaMicros: is required"},
    {LIMITS("'cpuMax':{'quotaMicros':999}"),
     "spec.run.limits.cpuMax.quotaMicros: must be between 1000 and 9223372036854775, not 999"},
    {LIMITS("'cpuMax':{'quotaMicros':5000,'periodMicros':2000000}"),
     "spec.run.limits.cpuMax.periodMicros: must be between 1000 and 1000000, not 2000000"},
    {LIMITS("'gracefulShutdownSeconds':301"),
     "spec.run.limits.gracefulShutdownSeconds: must be between 0 and 300, not 301"},

    /* export, identity, policy, placement, correlation */
    {EXPORT("'name':'a','path':'/out'"), "spec.export.artifacts: " UNSUPPORTED},
    {EXPORT("'name':'../a','path':'/out'"),
     "spec.export.artifacts[0].name: must not contain a path separator\nspec.export.artifacts: " UNSUPPORTED},
    {EXPORT("'name':'~a','path':''"), "spec.export.artifacts[0].name: must not begin with "
                                      "\"~\"\nspec.export.artifacts[0].path: must not be empty\n"
                                      "spec.export.artifacts: " UNSUPPORTED},
    {S("'identity':{'kind':'oidc'}"), "spec.identity: " UNSUPPORTED},
    {S("'identity':5"), "spec.identity: must be an object, not an integer"},
    {S("'policy':{'packId':'p','packVersion':'1.0.0'}"), "spec.policy: " UNSUPPORTED},
    {S("'placement':{'kubernetesNamespace':'-a'}"),
     "spec.placement.kubernetesNamespace: must be 1-63 characters of [a-z0-9-], the first and the last "
     "alphanumeric"},
    {S("'placement':{'poolId':''}"), "spec.placement.poolId: must not be empty"},
    {CORR("'tenantId':'a.b'"), "spec.correlation.tenantId: must not contain a space, \".\", \"*\" or \">\""},
    {CORR("'labels':[]"), "spec.correlation.labels: must be an object, not an array"},
    {CORR("'labels':{'k':1}"), "spec.correlation.labels.k: must be a string, not an integer"},
    {CORR("'platform':null"), "spec.correlation.platform: must be a string, not null"},
};

static char *quotes(const char *s)
{
    char *copy = strdup(s);
    assert_non_null(copy);
    for (char *p = copy; *p; p++)
        if (*p == '\'')
            *p = '"';
    return copy;
}

/* Says what differs; the caller fails the test, so that one run shows every row that is wrong. */
static bool refused(struct str document, const char *want)
{
    static const char *const paths[] = {"/var/lib/suite"};
    struct spec_operator op = {.paths = paths, .npaths = 1};
    struct violations found = {0};
    struct spec *s = NULL;
    struct buf b;
    assert_int_equal(spec_parse(document, &op, &s, &found), SPEC_INVALID);
    assert_null(s);
    buf_init(&b, 1 << 20);
    violations_print(&found, &b);
    assert_true(b.len > 0 && b.data[b.len - 1] == '\n');
    b.len--;
    const char *text = buf_cstr(&b);
    bool same = strcmp(text, want) == 0;
    if (!same)
        print_error("document: %.*s\ngot:  %s\nwant: %s\n", (int)document.len, document.p, text, want);
    buf_done(&b);
    violations_done(&found);
    return same;
}

static void refuse(struct str document, const char *want)
{
    assert_true(refused(document, want));
}

static void test_table(void **state)
{
    (void)state;
    size_t wrong = 0;
    assert_true(ARRAY_LEN(rows) >= 120);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        char *document = quotes(rows[i].document);
        wrong += !refused(str_of(document), rows[i].want);
        free(document);
    }
    assert_int_equal(wrong, 0);
}

static void test_every_rule_has_a_name(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct violations found = {0};
        struct spec *s = NULL;
        char *document = quotes(rows[i].document);
        int r = spec_parse(str_of(document), NULL, &s, &found);
        for (size_t k = 0; k < found.n; k++) {
            assert_non_null(found.v[k].rule);
            assert_in_range(strlen(found.v[k].rule), 2, 64);
            assert_in_range(strlen(found.v[k].path), 1, 256);
            assert_in_range(strlen(found.v[k].message), 1, 512);
        }
        assert_true((r == SPEC_OK) == (found.n == 0)); /* without forbidden paths two rows are good */
        spec_free(s);
        violations_done(&found);
        free(document);
    }
}

static char *repeat(const char *unit, size_t n, const char *before, const char *after)
{
    struct buf b;
    buf_init(&b, 4 << 20);
    buf_puts(&b, before);
    for (size_t i = 0; i < n; i++)
        buf_puts(&b, unit);
    buf_puts(&b, after);
    char *s = str_dup(buf_str(&b));
    assert_non_null(s);
    buf_done(&b);
    return s;
}

static void test_deep(void **state)
{
    (void)state;
    char *s = repeat("[", 100000, "", "");
    refuse(str_of(s), "document: line 1, column 33: nested deeper than 32 levels");
    free(s);
    s = repeat("{\"a\":", 100000, "", "");
    refuse(str_of(s), "document: line 1, column 161: nested deeper than 32 levels");
    free(s);
    s = repeat("[", 32, "", "");
    refuse(str_of(s), "document: line 1, column 32: ']' expected near end of file");
    free(s);
    s = repeat("[", 100000, "\n[\"", "\"]"); /* brackets in a string are text */
    refuse(str_of(s), "document: must be an object, not an array");
    free(s);
    s = repeat("[", 100000, "[\"\\\"", "\"]"); /* behind an escaped quote, too */
    refuse(str_of(s), "document: must be an object, not an array");
    free(s);
}

static void test_size(void **state)
{
    (void)state;
    char *s = repeat(" ", LIMIT_SPEC - 2, "", "[]");
    refuse(str_of(s), "document: must be an object, not an array");
    free(s);
    s = repeat(" ", LIMIT_SPEC - 1, "", "[]");
    refuse(str_of(s), "document: must be at most 1048576 bytes");
    free(s);
}

static void test_nul(void **state)
{
    (void)state;
    static const char inside[] = "{\"a\":\n\"\0\"}", trailing[] = "{}";
    refuse((struct str){inside, sizeof(inside) - 1}, "document: line 2, column 2: must not contain NUL");
    refuse((struct str){trailing, sizeof(trailing)}, "document: line 1, column 3: must not contain NUL");
}

/* More than the limit: the first hundred, in order, and a word about the rest. */
static void test_all_of_them(void **state)
{
    (void)state;
    char *list = repeat(",{}", 70,
                        HEAD "{'id':'a','lifetime':{'ttlSeconds':60},'authority':{'secretRefs':[],"
                             "'egressRules':[{}",
                        "]}}}");
    char *s = quotes(list);
    struct violations found = {0};
    struct spec *spec = NULL;
    assert_int_equal(spec_parse(str_of(s), NULL, &spec, &found), SPEC_INVALID);
    assert_int_equal(found.n, LIMIT_VIOLATIONS);
    assert_true(found.more);
    assert_string_equal(found.v[0].path, "spec.authority.egressRules[0].host");
    assert_string_equal(found.v[1].path, "spec.authority.egressRules[0].port");
    assert_string_equal(found.v[99].path, "spec.authority.egressRules[49].port");
    violations_done(&found);
    free(list);
    free(s);
}

static void test_many(void **state)
{
    (void)state;
    char *argv = repeat(",'x'", LIMIT_ARGV,
                        HEAD "{'id':'a','lifetime':{'ttlSeconds':60},'authority':{'secretRefs':[]},"
                             "'run':{'argv':['x'",
                        "]}}}");
    char *s = quotes(argv);
    refuse(str_of(s), "spec.run.argv: must have at most 4096 entries, not 4097");
    free(s);
    free(argv);
    char *id =
        repeat("a", 129, HEAD "{'lifetime':{'ttlSeconds':60},'authority':{'secretRefs':[]},'id':'", "'}}");
    s = quotes(id);
    refuse(str_of(s), "spec.id: must be at most 128 bytes, not 129");
    free(s);
    free(id);
}

/* A long foreign key is cut in the path, and nothing of it reaches a terminal unescaped. */
static void test_hostile_key(void **state)
{
    (void)state;
    char *s = repeat("\\u001b[31m", 5000, "{\"", "\":1}");
    struct violations found = {0};
    struct spec *spec = NULL;
    assert_int_equal(spec_parse(str_of(s), NULL, &spec, &found), SPEC_INVALID);
    assert_true(strlen(found.v[0].path) < VIOLATION_PATH_MAX);
    assert_null(strchr(found.v[0].path, 0x1b));
    assert_non_null(strstr(found.v[0].path, "[\"\\x1b[31m"));
    violations_done(&found);
    free(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_table), cmocka_unit_test(test_every_rule_has_a_name),
        cmocka_unit_test(test_deep),  cmocka_unit_test(test_size),
        cmocka_unit_test(test_nul),   cmocka_unit_test(test_all_of_them),
        cmocka_unit_test(test_many),  cmocka_unit_test(test_hostile_key),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
