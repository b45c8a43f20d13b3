/* SPDX-License-Identifier: MIT */
#include "supervisor/ctl/report_page.h"

/* Each part is the files one after the other. The paths are from the top of the tree, where make runs. */
#define FILE_(name) ".incbin \"supervisor/ctl/report/" name "\"\n"
#define PART(part, files)                                                                                    \
    __asm__(".section .rodata\n"                                                                             \
            "report_page_" part "_begin:\n" files "report_page_" part "_end:\n"                              \
            ".byte 0\n"                                                                                      \
            ".previous\n")

PART("css", FILE_("page.css"));
PART("html", FILE_("page.html"));
PART("js",
     FILE_("bytes.js") FILE_("note.js") FILE_("keyset.js") FILE_("tree.js") FILE_("event.js") FILE_("rows.js")
         FILE_("verify.js") FILE_("dom.js") FILE_("picture.js") FILE_("view.js") FILE_("main.js"));

extern const char report_page_css_begin[], report_page_css_end[];
extern const char report_page_html_begin[], report_page_html_end[];
extern const char report_page_js_begin[], report_page_js_end[];

struct str report_page_css(void)
{
    return (struct str){report_page_css_begin, (size_t)(report_page_css_end - report_page_css_begin)};
}

struct str report_page_html(void)
{
    return (struct str){report_page_html_begin, (size_t)(report_page_html_end - report_page_html_begin)};
}

struct str report_page_js(void)
{
    return (struct str){report_page_js_begin, (size_t)(report_page_js_end - report_page_js_begin)};
}
