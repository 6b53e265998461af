/* ir/base/diag.c -- prints located messages and keeps their text.
 *
 * Everything a message quotes may come from a foreign file: control characters are shown as '?',
 * and of a very long line only the surroundings of the place are shown. */
#include "ir/base/diag.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

typedef struct KindInfo {
    const char *id;
    SnlStatus status;
} KindInfo;

static const KindInfo kind_info[SNL_DIAG_KIND_COUNT] = {
#define DIAG(NAME, id, STATUS, text) {id, SNL_##STATUS},
#include "ir/base/diag.def"
#undef DIAG
};

typedef enum Severity { ERROR, WARNING, NOTE } Severity;

static const char *const severity_word[] = {"error", "warning", "note"};
static const char *const severity_colour[] = {"\033[1;31m", "\033[1;35m", "\033[1;36m"};
#define COLOUR_OFF "\033[0m"

struct SnlDiag {
    FILE *out;
    bool colour, wipes;
    unsigned max_errors, n_errors, n_warnings;
    bool muted; /* the last error or warning was over the limit: so are its notes */
    char *text;
    size_t len, cap;
};

bool snl_can_wipe(FILE *out)
{
    const char *term = getenv("TERM");
    return term && strcmp(term, "dumb") != 0 && isatty(fileno(out));
}

SnlDiag *snl_diag_create(FILE *out, unsigned max_errors)
{
    SnlDiag *diag = snl_xmalloc(sizeof *diag);
    const char *no_colour = getenv("NO_COLOR");
    *diag = (SnlDiag){.out = out, .max_errors = max_errors ? max_errors : 20};
    diag->wipes = out && snl_can_wipe(out);
    diag->colour = diag->wipes && !(no_colour && *no_colour);
    diag->cap = 256;
    diag->text = snl_xmalloc(diag->cap);
    diag->text[0] = '\0';
    return diag;
}

void snl_diag_destroy(SnlDiag *diag)
{
    if (!diag) return;
    free(diag->text);
    free(diag);
}

unsigned snl_diag_errors(const SnlDiag *diag)
{
    return diag->n_errors;
}
const char *snl_diag_text(const SnlDiag *diag)
{
    return diag->text;
}

/* ---- the kept text --------------------------------------------------------------------------- */

static void put(SnlDiag *diag, const char *bytes, size_t n)
{
    if (diag->cap - diag->len <= n) {
        diag->cap = (diag->len + n + 1) * 2;
        diag->text = snl_xrealloc(diag->text, diag->cap);
    }
    memcpy(diag->text + diag->len, bytes, n);
    diag->len += n;
    diag->text[diag->len] = '\0';
}

static void put_text(SnlDiag *diag, const char *text)
{
    put(diag, text, strlen(text));
}

static void put_repeated(SnlDiag *diag, char c, size_t n)
{
    for (size_t i = 0; i < n; i++) put(diag, &c, 1);
}

/* Foreign text: anything that would move a terminal's cursor becomes '?'. */
static void put_foreign(SnlDiag *diag, const char *bytes, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        unsigned char c = (unsigned char)bytes[i];
        char shown = c != '\t' && (c < 0x20 || c == 0x7f) ? '?' : bytes[i];
        put(diag, &shown, 1);
    }
}

static void SNL_PRINTF(2, 0) put_vprintf(SnlDiag *diag, const char *fmt, va_list args)
{
    va_list again;
    va_copy(again, args);
    SNL_ASSERT(fmt);
    int n = vsnprintf(NULL, 0, fmt, args);
    SNL_ASSERT(n >= 0);
    char *message = snl_xmalloc((size_t)n + 1);
    vsnprintf(message, (size_t)n + 1, fmt, again);
    va_end(again);
    put_foreign(diag, message, (size_t)n);
    free(message);
}

static void SNL_PRINTF(2, 3) put_printf(SnlDiag *diag, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    put_vprintf(diag, fmt, args);
    va_end(args);
}

/* ---- the quoted line ------------------------------------------------------------------------- */

static size_t clamp_offset(const SnlSource *source, uint32_t offset)
{
    return offset < source->len ? offset : source->len;
}

static size_t line_begin(const SnlSource *source, size_t offset)
{
    while (offset > 0 && source->text[offset - 1] != '\n') offset--;
    return offset;
}

static size_t line_end(const SnlSource *source, size_t offset)
{
    while (offset < source->len && source->text[offset] != '\n') offset++;
    return offset;
}

void snl_source_position(const SnlSource *source, uint32_t offset, unsigned *out_line,
                         unsigned *out_column)
{
    size_t at = clamp_offset(source, offset);
    unsigned line = 1;
    for (size_t i = 0; i < at; i++)
        if (source->text[i] == '\n') line++;
    *out_line = line;
    *out_column = (unsigned)(at - line_begin(source, at)) + 1;
}

/* Decodes one UTF-8 sequence of s[0..n); a malformed byte counts as one character. */
static size_t decode(const char *s, size_t n, uint32_t *out_code)
{
    unsigned char c = (unsigned char)s[0];
    size_t len = c >= 0xf0 && c < 0xf8 ? 4 : c >= 0xe0 ? 3 : c >= 0xc2 ? 2 : 1;
    if (c >= 0xf8 || len > n) len = 1;
    uint32_t code = len == 1 ? c : c & (0xffU >> (len + 1));
    for (size_t i = 1; i < len; i++) {
        unsigned char next = (unsigned char)s[i];
        if ((next & 0xc0) != 0x80) {
            *out_code = c;
            return 1;
        }
        code = code << 6 | (next & 0x3fU);
    }
    *out_code = code;
    return len;
}

/* Columns on a terminal: combining marks 0, East Asian wide and emoji 2. The coarse blocks only,
 * which is enough to put a caret under the right word. */
static size_t display_width(uint32_t code)
{
    static const uint32_t wide[][2] = {{0x1100, 0x115f},   {0x2e80, 0x303e},  {0x3041, 0xa4cf},
                                       {0xac00, 0xd7a3},   {0xf900, 0xfaff},  {0xfe30, 0xfe6f},
                                       {0xff00, 0xff60},   {0xffe0, 0xffe6},  {0x1f300, 0x1f64f},
                                       {0x1f900, 0x1faff}, {0x20000, 0x3fffd}};
    if ((code >= 0x300 && code <= 0x36f) || (code >= 0x200b && code <= 0x200f)) return 0;
    for (size_t i = 0; i < sizeof wide / sizeof wide[0]; i++)
        if (code >= wide[i][0] && code <= wide[i][1]) return 2;
    return 1;
}

/* Blanks as wide as s[0..n) is shown, tabs kept: they are as wide below as above. */
static void put_padding(SnlDiag *diag, const char *s, size_t n)
{
    for (size_t i = 0; i < n;) {
        uint32_t code;
        i += decode(s + i, n - i, &code);
        if (code == '\t')
            put(diag, "\t", 1);
        else
            put_repeated(diag, ' ', display_width(code));
    }
}

static size_t text_width(const char *s, size_t n)
{
    size_t width = 0;
    for (size_t i = 0; i < n;) {
        uint32_t code;
        i += decode(s + i, n - i, &code);
        width += display_width(code);
    }
    return width;
}

enum { LONGEST_QUOTE = 160, QUOTE_BEFORE = 80 };

static bool is_continuation(char c)
{
    return ((unsigned char)c & 0xc0) == 0x80;
}

static void put_quote(SnlDiag *diag, SnlLoc loc, unsigned line)
{
    const SnlSource *source = loc.source;
    size_t at = clamp_offset(source, loc.offset);
    size_t begin = line_begin(source, at), end = line_end(source, at);
    bool cut_left = at - begin > QUOTE_BEFORE && end - begin > LONGEST_QUOTE;
    if (cut_left) begin = at - QUOTE_BEFORE;
    while (cut_left && begin < at && is_continuation(source->text[begin])) begin++;
    bool cut_right = end - begin > LONGEST_QUOTE;
    if (cut_right) end = begin + LONGEST_QUOTE;
    while (cut_right && end > at && is_continuation(source->text[end])) end--;
    if (!cut_right && end > at && source->text[end - 1] == '\r') end--;

    put_printf(diag, "%5u | ", line);
    if (cut_left) put_text(diag, "...");
    put_foreign(diag, source->text + begin, end - begin);
    put_text(diag, cut_right ? "...\n      | " : "\n      | ");
    if (cut_left) put_text(diag, "   ");
    put_padding(diag, source->text + begin, at - begin);
    size_t marked = loc.length < end - at ? loc.length : end - at;
    size_t width = text_width(source->text + at, marked);
    put_text(diag, "^");
    if (width > 1) put_repeated(diag, '~', width - 1);
    put_text(diag, "\n");
}

/* ---- reporting ------------------------------------------------------------------------------- */

/* Counts the message and says whether it is printed. */
static bool admit(SnlDiag *diag, Severity severity)
{
    if (severity == NOTE) return !diag->muted;
    unsigned *count = severity == ERROR ? &diag->n_errors : &diag->n_warnings;
    (*count)++;
    diag->muted = *count > diag->max_errors;
    if (diag->muted && severity == ERROR && *count == diag->max_errors + 1) {
        size_t from = diag->len;
        put_printf(diag, "snlpc: note: more than %u errors; the rest is not shown",
                   diag->max_errors);
        put_text(diag, "\n");
        if (diag->out) fputs(diag->text + from, diag->out);
    }
    return !diag->muted;
}

static void put_severity(SnlDiag *diag, Severity severity, const char *id)
{
    if (diag->colour) put_text(diag, severity_colour[severity]);
    put_text(diag, severity_word[severity]);
    if (id) {
        put_text(diag, "[");
        put_text(diag, id);
        put_text(diag, "]");
    }
    put_text(diag, ":");
    if (diag->colour) put_text(diag, COLOUR_OFF);
    put_text(diag, " ");
}

/* One message; `place` is used when loc has no source. */
static void SNL_PRINTF(6, 0) report(SnlDiag *diag, Severity severity, const char *id, SnlLoc loc,
                                    const char *place, const char *fmt, va_list args)
{
    if (!admit(diag, severity)) return;
    size_t from = diag->len;
    bool has_text = loc.source && loc.source->text;
    unsigned line = 0, column = 0;
    if (loc.source) place = loc.source->name;
    put_foreign(diag, place, strlen(place));
    if (has_text) {
        snl_source_position(loc.source, loc.offset, &line, &column);
        put_printf(diag, ":%u:%u", line, column);
    }
    put_text(diag, ": ");
    put_severity(diag, severity, id);
    put_vprintf(diag, fmt, args);
    put_text(diag, "\n");
    if (has_text && severity != NOTE) put_quote(diag, loc, line);
    if (diag->out) {
        if (diag->wipes) fputs(SNL_WIPE, diag->out);
        fwrite(diag->text + from, 1, diag->len - from, diag->out);
        fflush(diag->out);
    }
}

SnlStatus snl_error(SnlDiag *diag, SnlDiagKind kind, SnlLoc loc, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    report(diag, ERROR, kind_info[kind].id, loc, "snlpc", fmt, args);
    va_end(args);
    return kind_info[kind].status;
}

SnlStatus snl_error_at(SnlDiag *diag, SnlDiagKind kind, const char *place, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    report(diag, ERROR, kind_info[kind].id, SNL_NO_LOC, place ? place : "snlpc", fmt, args);
    va_end(args);
    return kind_info[kind].status;
}

void snl_warning(SnlDiag *diag, SnlLoc loc, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    report(diag, WARNING, NULL, loc, "snlpc", fmt, args);
    va_end(args);
}

void snl_note(SnlDiag *diag, SnlLoc loc, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    report(diag, NOTE, NULL, loc, "snlpc", fmt, args);
    va_end(args);
}
