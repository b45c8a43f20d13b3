/* SPDX-License-Identifier: MIT */
/* The command line of `cellctl run`. */
#include <fcntl.h>
#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "supervisor/ctl/run_flags.h"
#include "supervisor/spec/parse.h"

#define RUN_ID   "01890a5d-ac96-774b-bcce-b302099a8057"
#define ARGS_MAX 32

/* Splits at single blanks: "" between two blanks is an empty argument. */
static int split_line(char *line, char **argv)
{
    int n = 0;
    argv[n++] = (char *)"run";
    for (char *p = line; p && n < ARGS_MAX; n++) {
        argv[n] = p;
        p = strchr(p, ' ');
        if (p)
            *p++ = '\0';
    }
    argv[n] = NULL;
    return n;
}

static int parse(const char *line, struct run_flags *f, char error[RUN_FLAGS_ERROR_MAX])
{
    char copy[1024], *argv[ARGS_MAX + 1];
    (void)snprintf(copy, sizeof(copy), "%s", line);
    int argc = *line ? split_line(copy, argv) : 1;
    if (!*line)
        argv[0] = (char *)"run";
    error[0] = '\0';
    return run_flags_parse(argc, argv, RUN_ID, f, error);
}

#define RESOLVER "must be IP, IP:PORT or [IPv6]:PORT, or begin with tcp://, tls:// or https://"
#define PROXY    "must be http://HOST:PORT or socks5://HOST:PORT"

static const struct {
    const char *line;
    const char *want;
} wrong[] = {
    {"", "there is nothing to run: give `-- COMMAND`, or a document"},
    {"--", "there is nothing to run: give `-- COMMAND`, or a document"},
    {"-v --ttl 5", "there is nothing to run: give `-- COMMAND`, or a document"},
    {"a.json b.json", "only one document can be run: a command goes behind \"--\""},
    {"a.json -- true", "the document a.json has the command already: leave out \"--\" and what follows"},
    {"a.json --", "the document a.json has the command already: leave out \"--\" and what follows"},
    {"a.json --ttl 5", "--ttl builds a document: it cannot be combined with a.json"},
    {"--allow a.test -", "--allow builds a document: it cannot be combined with -"},
    {"--print-spec a.json", "--print-spec builds a document: it cannot be combined with a.json"},
    {"--alow a -- x", "unknown flag \"--alow\", did you mean \"--allow\"?"},
    {"--env A=1 -- x",
     "unknown flag \"--env\": `cellctl run --help` lists them; a command goes behind \"--\""},
    {"-x -- x", "unknown flag \"-x\": `cellctl run --help` lists them; a command goes behind \"--\""},
    {"--allow", "--allow needs a value"},
    {"--allow -- x", "--allow needs a value"},
    {"-v=1 -- x", "-v takes no value"},
    {"--ttl 1 --ttl 2 -- x", "--ttl is given twice"},
    {"--events a --events b -- x", "--events is given twice"},
    {"--ttl 0 -- x", "--ttl \"0\": must be a number of seconds between 1 and 31536000"},
    {"--ttl 1h -- x", "--ttl \"1h\": must be a number of seconds between 1 and 31536000"},
    {"--timeout-ms -1 -- x", "--timeout-ms \"-1\": must be a number of milliseconds from 1 on"},
    {"--evidence no -- x", "--evidence \"no\": must be strict or async"},
    {"--events= -- x", "--events \"\": must name a file"},
    {"--checkpoint= -- x", "--checkpoint \"\": must name a file"},
    {"--name= -- x", "--name \"\": must be 1 to 128 bytes"},
    {"--allow= -- x", "--allow \"\": must not be empty"},
    {"--allow a:0 -- x", "--allow \"a:0\": must be a port from 1 to 65535, or a range such as \"8000-8100\""},
    {"--allow a:443/ -- x",
     "--allow \"a:443/\": must be a port from 1 to 65535, or a range such as \"8000-8100\""},
    {"--allow a:9-8 -- x", "--allow \"a:9-8\": must be a range of ports with the lower one first"},
    {"--allow a/ssh -- x", "--allow \"a/ssh\": must be one of tls, https, http, h2c, quic, tcp, udp"},
    {"--allow https://a.test/ -- x",
     "--allow \"https://a.test/\": must be a host name or an address, not a URL"},
    {"--allow ::1 -- x", "--allow \"::1\": must have an IPv6 address in brackets, e.g. [2001:db8::1]:443"},
    {"--allow [::1 -- x", "--allow \"[::1\": lacks the closing \"]\""},
    {"--allow [::1]443 -- x", "--allow \"[::1]443\": must be HOST[:PORT[-PORT]][/PROTO]"},
    {"--allow-answer a.test -- x", "--allow-answer \"a.test\": must be HOST:IP or HOST:CIDR"},
    {"--allow-answer a.test:10.0.0.1/8 -- x", "--allow-answer \"a.test:10.0.0.1/8\": must end in an address, "
                                              "or a prefix such as 192.0.2.0/24 with no host "
                                              "bits set"},
    {"--allow-answer 1.2.3.4:1.2.3.4 -- x",
     "--allow-answer \"1.2.3.4:1.2.3.4\": must be a name: this is an IP address, or would be taken for one"},
    {"--dns dns.test -- x", "--dns \"dns.test\": " RESOLVER},
    {"--dns 1.1.1.1:0 -- x", "--dns \"1.1.1.1:0\": " RESOLVER},
    {"--dns tcp://dns.test -- x", "--dns \"tcp://dns.test\": " RESOLVER},
    {"--dns tls://1.1.1.1#a_b -- x",
     "--dns \"tls://1.1.1.1#a_b\": the name behind \"#\" must consist of letters, digits, hyphens and dots"},
    {"--dns tls://1.1.1.1# -- x", "--dns \"tls://1.1.1.1#\": the name behind \"#\" must not be empty"},
    {"--dns udp://1.1.1.1 -- x", "--dns \"udp://1.1.1.1\": " RESOLVER},
    {"--dnssec -- x", "--dnssec needs a resolver to be named: --dns"},
    {"--dnssec=1 -- x", "--dnssec takes no value"},
    {"--max-connections 0 -- x", "--max-connections \"0\": must be a number between 1 and 1024"},
    {"--max-connections 1025 -- x", "--max-connections \"1025\": must be a number between 1 and 1024"},
    {"--max-bytes 0 -- x", "--max-bytes \"0\": must be a number of bytes, e.g. 512M or 2G"},
    {"--max-rate 1T -- x", "--max-rate \"1T\": must be a number of bytes, e.g. 512M or 2G"},
    {"--network on -- x", "--network \"on\": must be intercept, none or routed"},
    {"--upstream-proxy 127.0.0.1:80 -- x", "--upstream-proxy \"127.0.0.1:80\": " PROXY},
    {"--upstream-proxy http://127.0.0.1 -- x", "--upstream-proxy \"http://127.0.0.1\": " PROXY},
    {"--upstream-proxy http://:80 -- x", "--upstream-proxy \"http://:80\": " PROXY},
    {"--upstream-proxy http://u:p@127.0.0.1:80 -- x", "--upstream-proxy \"http://u:p@127.0.0.1:80\": " PROXY},
    {"--upstream-proxy http://127.0.0.1:80/ -- x",
     "--upstream-proxy \"http://127.0.0.1:80/\": must not have anything behind the port"},
    {"--upstream-proxy socks5://127.0.0.1:0 -- x",
     "--upstream-proxy \"socks5://127.0.0.1:0\": must have a port from 1 to 65535"},
    {"--config= -- x", "--config \"\": must name a file"},
    {"--ca-file= -- x", "--ca-file \"\": must name a file"},
    {"--network none --network none -- x", "--network is given twice"},
    {"--dns ::1 --dns ::1 --dns ::1 --dns ::1 --dns ::1 --dns ::1 --dns ::1 --dns ::1 --dns ::1 -- x",
     "--dns \"::1\": is one resolver too many: at most 8"},
    {"--ro /nonexistent-cellos -- x", "--ro \"/nonexistent-cellos\": No such file or directory"},
    {"--rw nonexistent-cellos -- x", "--rw \"nonexistent-cellos\": No such file or directory"},
    {"--cwd nonexistent-cellos -- x",
     "--cwd \"nonexistent-cellos\": must be an absolute path, or an existing directory"},
    {"--memory 3X -- x", "--memory \"3X\": must be a number of bytes, e.g. 512M or 2G"},
    {"--memory M -- x", "--memory \"M\": must be a number of bytes, e.g. 512M or 2G"},
    {"--memory 9223372036854775807K -- x",
     "--memory \"9223372036854775807K\": must be a number of bytes, e.g. 512M or 2G"},
    {"--pids 0 -- x", "--pids \"0\": must be a number between 1 and 4194304"},
    {"--cpu 0 -- x", "--cpu \"0\": must be a number of processors, e.g. 1.5"},
    {"--cpu 1. -- x", "--cpu \"1.\": must be a number of processors, e.g. 1.5"},
    {"--cpu .5 -- x", "--cpu \".5\": must be a number of processors, e.g. 1.5"},
    {"--cpu 0.001 -- x", "--cpu \"0.001\": must be a number of processors, e.g. 1.5"},
    {"-- a \xff", "argument 1 of the command is not UTF-8 text, which a spec document cannot hold"},
};

static void test_wrong(void **state)
{
    (void)state;
    size_t bad = 0;
    for (size_t i = 0; i < ARRAY_LEN(wrong); i++) {
        struct run_flags f;
        char error[RUN_FLAGS_ERROR_MAX];
        int r = parse(wrong[i].line, &f, error);
        if (r != RUN_FLAGS_USAGE || strcmp(error, wrong[i].want) != 0) {
            print_error("%s\ngot:  %d %s\nwant: %s\n", wrong[i].line, r, error, wrong[i].want);
            bad++;
        }
        assert_null(f.json);
        assert_null(f.document);
        run_flags_done(&f);
    }
    assert_int_equal(bad, 0);
}

/* The document without blanks and line feeds: the part behind spec.id. */
static void squeeze(char *s)
{
    char *to = s;
    for (; *s; s++)
        if (*s == '"')
            *to++ = '\'';
        else if (*s != ' ' && *s != '\n')
            *to++ = *s;
    *to = '\0';
}

#define BEGIN                                                                                                \
    "{'apiVersion':'cellos.io/"                                                                              \
    "v1','kind':'ExecutionCell','spec':{'id':'run-b302099a8057','authority':{'secretRefs':["
#define END(ttl)   "},'lifetime':{'ttlSeconds':" ttl "},'run':{'argv':['x']"
#define SIGNED     "'dnssec':{'validate':true,'failClosed':true}"
#define SIMPLE(au) BEGIN au END("3600") "}}}"

static const struct {
    const char *line;
    const char *want;
} good[] = {
    {"-- x", SIMPLE("]")},
    {"--allow A.test -- x", SIMPLE("],'egressRules':[{'host':'A.test','port':443}]")},
    {"--allow=a.test:80/http --allow *.b.test:1-2 -- x",
     SIMPLE(
         "],'egressRules':[{'host':'a.test','port':80,'protocol':'http'},{'host':'*.b.test','port':'1-2'}]")},
    {"--allow 10.0.0.0/8 --allow 10.0.0.0/8:22/tcp --allow [2001:db8::/32]:5/tls --allow [::1] --allow a:7-7 "
     "-- x",
     SIMPLE(
         "],'egressRules':[{'host':'10.0.0.0/8','port':443},{'host':'10.0.0.0/8','port':22,'protocol':'tcp'},"
         "{'host':'2001:db8::/"
         "32','port':5,'protocol':'tls'},{'host':'::1','port':443},{'host':'a','port':7}]")},
    {"--allow a.test --allow A.test:80 --allow 10.0.0.1 --dns 127.0.0.1:5353 --dns ::1 -- x",
     SIMPLE("],'egressRules':[{'host':'a.test','port':443},{'host':'A.test','port':80},{'host':'10.0.0.1','"
            "port':443}],"
            "'dnsAuthority':{'resolvers':[{'resolverId':'dns-1','protocol':'do53-udp','endpoint':'127.0.0.1:"
            "5353'},"
            "{'resolverId':'dns-2','protocol':'do53-udp','endpoint':'[::1]:53'}],'hostnameAllowlist':['a."
            "test']}")},
    {"--allow a.test --allow-answer A.test:127.0.0.1 --allow-answer a.test:[fd00::]/8 --allow-answer "
     "a.test:[::1] -- x",
     NULL}, /* brackets go around the whole address only */
    {"--allow a.test --allow-answer A.test:127.0.0.1 --allow-answer a.test:[::1] -- x",
     SIMPLE("],'egressRules':[{'host':'a.test','port':443}],'dnsAuthority':{'hostnameAllowlist':['a.test'],"
            "'rebindingPolicy':{'responseIpAllowlist':['a.test:127.0.0.1','a.test:::1']}}")},
    {"--dnssec --dns tls://192.0.2.1#Dns.test --dns tls://[::1]:8853 --dns tcp://192.0.2.1 --dns "
     "https://192.0.2.1/dns-query -- x",
     SIMPLE("],'dnsAuthority':{'resolvers':["
            "{'resolverId':'dns-1','protocol':'dot','endpoint':'192.0.2.1:853','tlsServerName':'dns.test'"
            "," SIGNED "},{'resolverId':'dns-2','protocol':'dot','endpoint':'[::1]:8853'," SIGNED
            "},{'resolverId':'dns-3','protocol':'do53-tcp','endpoint':'192.0.2.1:53'," SIGNED
            "},{'resolverId':'dns-4','protocol':'doh','endpoint':'https://192.0.2.1/dns-query'," SIGNED
            "}],'hostnameAllowlist':[]}")},
    {"--max-connections 5 --max-bytes 1G --max-rate 64K -- x",
     SIMPLE("],'egressQuota':{'maxConnections':5,'maxBytes':1073741824,'maxBytesPerSecond':65536}")},
    {"--secret A --secret b-c -- x", SIMPLE("'A','b-c']")},
    {"--ro / --rw /usr/. -- x", SIMPLE("],'filesystem':{'readOnly':['/'],'readWrite':['/usr']}")},
    {"--ttl 5 -- x", BEGIN "]" END("5") "}}}"},
    {"--timeout-ms 7 --cwd /nonexistent-cellos -- x",
     BEGIN "]" END("3600") ",'workingDirectory':'/nonexistent-cellos','timeoutMs':7}}}"},
    {"--memory 2K --pids 3 --cpu 1.5 -- x", BEGIN
     "]" END("3600") ",'limits':{'memoryMaxBytes':2048,'pidsMax':3,'cpuMax':{'quotaMicros':150000}}}}}"},
    {"--memory 5 --cpu 0.05 -- x",
     BEGIN "]" END("3600") ",'limits':{'memoryMaxBytes':5,'cpuMax':{'quotaMicros':5000}}}}}"},
    {"--name N -- x",
     "{'apiVersion':'cellos.io/v1','kind':'ExecutionCell','spec':{'id':'N','authority':{'secretRefs':[]"
     "},'lifetime':{'ttlSeconds':3600},'run':{'argv':['x']}}}"},
    {"-- x -- --allow ",
     "{'apiVersion':'cellos.io/v1','kind':'ExecutionCell','spec':{'id':'run-b302099a8057','authority':"
     "{'secretRefs':[]},'lifetime':{'ttlSeconds':3600},'run':{'argv':['x','--','--allow','']}}}"},
};

static void test_documents(void **state)
{
    (void)state;
    size_t bad = 0;
    for (size_t i = 0; i < ARRAY_LEN(good); i++) {
        struct run_flags f;
        char error[RUN_FLAGS_ERROR_MAX];
        int r = parse(good[i].line, &f, error);
        if (!good[i].want) {
            assert_int_equal(r, RUN_FLAGS_USAGE);
            continue;
        }
        if (r == RUN_FLAGS_OK)
            squeeze(f.json);
        if (r != RUN_FLAGS_OK || strcmp(f.json, good[i].want) != 0) {
            print_error("%s\ngot:  %d %s%s\nwant: %s\n", good[i].line, r, error, f.json ? f.json : "",
                        good[i].want);
            bad++;
        }
        run_flags_done(&f);
    }
    assert_int_equal(bad, 0);
}

/* What flags build is a good document, relative names of files keep their meaning. */
static void test_relative(void **state)
{
    (void)state;
    char dir[] = "/tmp/cellos-test-flags-XXXXXX", here[PATH_MAX], error[RUN_FLAGS_ERROR_MAX];
    struct violations found = {0};
    struct run_flags f;
    struct spec *s = NULL;
    assert_non_null(getcwd(here, sizeof(here)));
    assert_non_null(mkdtemp(dir));
    assert_int_equal(chdir(dir), 0);
    int fd = open("ca.pem", O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    close(fd);
    assert_int_equal(
        parse("--allow a.test:8443 --dns 127.0.0.1 --allow-answer a.test:127.0.0.1 --ro ca.pem -- x", &f,
              error),
        RUN_FLAGS_OK);
    assert_int_equal(spec_parse(str_of(f.json), NULL, &s, &found), SPEC_OK);
    assert_string_equal(s->run->cwd.p, dir);
    assert_int_equal(strncmp(s->fs.read_only.v[0].p, dir, strlen(dir)), 0);
    assert_string_equal(s->fs.read_only.v[0].p + strlen(dir), "/ca.pem");
    spec_free(s);
    run_flags_done(&f);
    violations_done(&found);
    assert_int_equal(unlink("ca.pem"), 0);
    assert_int_equal(chdir(here), 0);
    assert_int_equal(rmdir(dir), 0);
}

static void test_suite_flags(void **state)
{
    (void)state;
    static char *const line[] = {(char *)"run", (char *)"--evidence=async", (char *)"--events",
                                 (char *)"-",   (char *)"--checkpoint",     (char *)"cp",
                                 (char *)"-v",  (char *)"spec.json",        NULL};
    struct run_flags f;
    char error[RUN_FLAGS_ERROR_MAX];
    assert_int_equal(run_flags_parse(8, (char **)line, RUN_ID, &f, error), RUN_FLAGS_OK);
    assert_string_equal(f.document, "spec.json");
    assert_null(f.json);
    assert_int_equal(f.evidence, EVIDENCE_ASYNC);
    assert_string_equal(f.events, "-");
    assert_string_equal(f.checkpoint, "cp");
    assert_true(f.verbose);
    assert_false(f.print_spec);
    assert_string_equal(f.name, "run-b302099a8057");
    run_flags_done(&f);
    assert_int_equal(parse("-", &f, error), RUN_FLAGS_OK);
    assert_string_equal(f.document, "-");
    assert_int_equal(f.evidence, 0); /* not given: the configuration decides, and strict without one */
    run_flags_done(&f);
    assert_int_equal(
        parse("--network none --upstream-proxy socks5://[::1]:1080 --config c --ca-file ca a.json", &f,
              error),
        RUN_FLAGS_OK);
    assert_int_equal(f.network, NET_MODE_NONE);
    assert_int_equal(f.proxy_kind, UPSTREAM_PROXY_SOCKS5);
    assert_string_equal(f.proxy_endpoint, "[::1]:1080");
    assert_string_equal(f.config, "c");
    assert_string_equal(f.ca_file, "ca");
    run_flags_done(&f);
    assert_int_equal(parse("--upstream-proxy http://127.0.0.1:3128 a.json", &f, error), RUN_FLAGS_OK);
    assert_int_equal(f.proxy_kind, UPSTREAM_PROXY_CONNECT);
    assert_string_equal(f.proxy_endpoint, "127.0.0.1:3128");
    run_flags_done(&f);
    assert_int_equal(parse("--print-spec --name N -- x", &f, error), RUN_FLAGS_OK);
    assert_true(f.print_spec);
    assert_string_equal(f.name, "N");
    run_flags_done(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_wrong),
        cmocka_unit_test(test_documents),
        cmocka_unit_test(test_relative),
        cmocka_unit_test(test_suite_flags),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
