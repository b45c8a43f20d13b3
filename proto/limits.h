/* SPDX-License-Identifier: MIT */
/* Every count, length, queue and rate that a peer can influence has its maximum here. Bytes unless the name
 * says else. */
#pragma once

/* messages */
#define LIMIT_FRAME         65536u     /* one datagram; the kernel's own limit is about 212 KB */
#define LIMIT_DEPTH         4u         /* nested arrays in one frame or document */
#define LIMIT_ARENA         (8u << 20) /* memory one decoded document may use */
#define LIMIT_PENDING_CALLS 1024u      /* requests of one endpoint that wait for their reply */
#define LIMIT_SEND_QUEUE    1024u      /* frames waiting in one channel */
#define LIMIT_HELLO_MS      5000u      /* both hellos within */
#define LIMIT_ERROR_TEXT    512u

/* identities */
#define LIMIT_CELL_ID   128u
#define LIMIT_RUN_ID    36u
#define LIMIT_DIGEST    71u /* "sha256:" + 64 hex */
#define LIMIT_HOSTNAME  253u
#define LIMIT_ADDR_TEXT 56u
#define LIMIT_LABEL     256u /* a free label: tenant, queue, platform */

/* spec */
#define LIMIT_SPEC              (1u << 20)
#define LIMIT_SPEC_DEPTH        32u
#define LIMIT_VIOLATIONS        100u
#define LIMIT_ARGV              4096u
#define LIMIT_ARGV_BYTES        (1u << 20)
#define LIMIT_EGRESS_RULES      1024u
#define LIMIT_DNS_NAMES         4096u
#define LIMIT_RESOLVERS         8u
#define LIMIT_ANSWER_RULES      1024u
#define LIMIT_QUERY_TYPES       32u
#define LIMIT_CDN_PROVIDERS     8u
#define LIMIT_CDN_PATTERNS      256u
#define LIMIT_TRUST_ANCHORS     65536u
#define LIMIT_URL               1024u
#define LIMIT_METADATA_PREFIXES 16u
#define LIMIT_ATTACHMENTS       16u  /* files a document names, read by cellctl */
#define LIMIT_PATHS             256u /* readOnly or readWrite entries */
#define LIMIT_PATH              4095u
#define LIMIT_SECRETS           64u
#define LIMIT_SECRET_NAME       64u
#define LIMIT_SECRET_VALUE      32768u
#define LIMIT_TTL_S             31536000u
#define LIMIT_GRACE_S           300u
#define LIMIT_TMPFS             (64u << 20)
#define LIMIT_LABELS            64u

/* documents that travel as a sealed memfd */
#define LIMIT_POLICY_DOC      (4u << 20)
#define LIMIT_ATTACHMENTS_DOC (2u << 20)
#define LIMIT_LAUNCH_DOC      (4u << 20)

/* daemons */
#define LIMIT_CELLS          4096u  /* live cells in one suite */
#define LIMIT_CLAIM_BODY     57344u /* encoded fields of one event */
#define LIMIT_CLAIMS_FRAME   64u    /* claims in one frame */
#define LIMIT_CLAIMS_GATHER  49152u /* bytes of their bodies: the frame stays below LIMIT_FRAME */
#define LIMIT_CLAIM_CALLS    768u /* unanswered frames of one line at signerd; less than LIMIT_PENDING_CALLS */
#define LIMIT_CLAIMS_SENT    4096u   /* unanswered claims in them */
#define LIMIT_CLAIMS_WAITING 131072u /* behind them, in the emitter */
#define LIMIT_CLAIM_CREDITS                                                                                  \
    4096u /* unacknowledged claims of one cell on one line; not less than LIMIT_CLAIMS_SENT */
#define LIMIT_CLAIMS_ASYNC   1024u  /* the same for each kind of allowed decision where effects do not wait */
#define LIMIT_CLAIMS_HELD    256u   /* decisions of one cell that wait for a credit */
#define LIMIT_CLAIM_RESERVED 64u    /* of these, only for allowed decisions and lifecycle */
#define LIMIT_ACK_MS         5000u  /* strict evidence: acknowledgement deadline */
#define LIMIT_ATTACH_MS      10000u /* netd's forked child per cell; the first one may load the nft modules */
#define LIMIT_LAUNCH_MS      15000u /* zygote spawn until the barrier */
#define LIMIT_DETACH_MS      10000u

/* network of a cell */
#define LIMIT_DNS_IN_FLIGHT  64u
#define LIMIT_DNS_PER_SECOND 500u
#define LIMIT_DNS_RATE_MAX   1000000u /* what an operator may raise it to */
#define LIMIT_DNS_TIMEOUT_MS 2000u    /* one try */
#define LIMIT_DNS_TRIES      2u
#define LIMIT_DNS_TCP_CONNS  32u
#define LIMIT_DNS_CACHE      1024u /* names in one cell's cache */
#define LIMIT_TCP_OPEN       1024u
#define LIMIT_PEEK           16384u
#define LIMIT_PEEK_MS        5000u
#define LIMIT_DIAL_MS        10000u
#define LIMIT_DIAL_ADDRS     8u
#define LIMIT_DENIES_PER_SEC 100u /* denial events of one cell; more collapse into one gap a second */
#define LIMIT_RELAY_IDLE_MS  600000u
#define LIMIT_PIPES          256u /* splice pipes in the pool */

#define LIMIT_WHO_MS         250u /* cell init names the process behind a connection, or it is unknown */
#define LIMIT_WHO_IN_FLIGHT  256u
#define LIMIT_EXE            255u  /* bytes of a program's path in an event; longer ones keep their end */
#define LIMIT_PIN_ADDRS      64u   /* addresses of one DNS answer */
#define LIMIT_PINS           4096u /* of one cell */
#define LIMIT_APEXES         16u   /* of one cell's homeostasis event */
#define LIMIT_FLOWS_PER_SEC  100u  /* flow events of one cell; more collapse into one gap a second */
#define LIMIT_POLICY_CHANGES 64u   /* rules added or removed by one request */
#define LIMIT_POLICY_CLIENTS 8u    /* cellctl policy at one supervisor at a time */

/* evidence */
#define LIMIT_LINE                65535u /* C2SP entry bundles count in 16 bits */
#define LIMIT_EVENT_DATA          49152u
#define LIMIT_SEGMENT             (64u << 20)
#define LIMIT_UNSIGNED            131072u /* seal: batch: durable lines whose own signature is not made yet */
#define LIMIT_SEGMENT_MIN         (1u << 20) /* what an operator may lower LIMIT_SEGMENT to */
#define LIMIT_SEGMENT_MAX         (1u << 30) /* and raise it to */
#define LIMIT_SEGMENT_AGE_S       86400u     /* a segment is closed when its first line is so old */
#define LIMIT_RETAIN_AGE_S        (100u * 31536000u)
#define LIMIT_RETAIN_BYTES        (1ull << 50)
#define LIMIT_BATCH               4096u        /* lines of one commit */
#define LIMIT_END_RESERVE         (1u << 20)   /* disk kept free for the end events of a cell */
#define LIMIT_PENDING_EVENTS      65536u       /* accepted by signerd, waiting for the disk */
#define LIMIT_PENDING_EVENT_BYTES (128u << 20) /* their data */
#define LIMIT_PENDING_LINE_BYTES  (40u << 20)  /* of these, what one line said: three leave room */
#define LIMIT_BATCH_BYTES         (8u << 20)   /* lines of one commit */
#define LIMIT_ANSWERS             8192u /* claims remembered per line, for repeats; more than LIMIT_CLAIMS_SENT */
#define LIMIT_CLOSED_RUNS         65536u /* run ids remembered; older ones are looked up in the log */
#define LIMIT_REFUSAL_KINDS       64u /* type x reason x run counted apart, a third a role; the rest "various" */
#define LIMIT_REFUSAL_WINDOW_US   1000000u /* repeats of one kind collapse into one event */
#define LIMIT_REDACT_NAMES        64u      /* field names an operator may have redacted */
#define LIMIT_REDACT_NAME         64u      /* of one */
#define LIMIT_REASON              256u     /* why a claim was refused */

/* quotas: of what one role says of one cell (netd and proxyd; an operator may set others) */
#define LIMIT_QUOTA_SUPERVISOR_RATE 2000u   /* events a second */
#define LIMIT_QUOTA_NETD_RATE       2000u   /* LIMIT_FLOWS_PER_SEC, counters of every rule at the end */
#define LIMIT_QUOTA_PROXYD_RATE     250000u /* more than signerd takes on one core */
#define LIMIT_QUOTA_RATE_MAX        10000000u
#define LIMIT_QUOTA_DNS_EVENTS      4u     /* a question may cost: query, answer, and what they lead to */
#define LIMIT_QUOTA_BURST_S         2u     /* seconds of the rate that may come at once */
#define LIMIT_QUOTA_NETD_BURST      32768u /* open flows are reported at once when a cell ends */
#define LIMIT_QUOTA_EVENTS          1000000000ull /* over the life of a cell */
#define LIMIT_QUOTA_BYTES           (1ull << 40)  /* of data */
#define LIMIT_QUOTA_END_EVENTS      64u           /* end events of the supervisor that no quota touches */
#define LIMIT_QUOTA_NETD_END_EVENTS 2048u         /* counters of rules, the same */
#define LIMIT_QUOTA_GAPS_RATE       16u /* gap events a second beside all quotas: what was lost is said */
#define LIMIT_QUOTA_GAPS_BURST      64u

/* values of secrets that signerd refuses */
#define LIMIT_SECRET_SEARCHED 8u  /* bytes: shorter values are found only as a whole field */
#define LIMIT_SECRET_FORMS    10u /* as they are, and in the usual encodings */
#define LIMIT_SECRET_MARKS    (LIMIT_SECRETS * LIMIT_SECRET_FORMS)
