/* codegen/trailer.c -- the payload behind the program: padding, weights, tokenizer, manifest,
 * footer (runtime/abi.h has the picture). Everything streams; nothing is seeked back to. */
#include "codegen/link.h"
#include "runtime/abi.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <xxhash.h>

_Static_assert(sizeof(SnlrtFooter) == 64, "the footer is eight 8-byte fields");
_Static_assert(SNLRT_PAYLOAD_ALIGN % SNL_PACK_ALIGN == 0 &&
                   SNLRT_HUGE_ALIGN % SNLRT_PAYLOAD_ALIGN == 0,
               "weights keep their alignment in the file");

/* Gathers what is written into blocks of a huge page. A large payload starts at a multiple of such
 * a block, so a kernel that keeps the pages of files in the sizes they were written in (Linux since
 * 6.16 on ext4, earlier on others) has the weights in huge pages, and programs map them so. */
typedef struct Stream {
    FILE *file;
    SnlDiag *diag;
    const char *path;
    size_t n; /* bytes of `block` in use */
    uint8_t *block;
} Stream;

enum { BLOCK_NBYTES = SNLRT_HUGE_ALIGN };

static SnlStatus write_failed(Stream *s)
{
    return snl_error_at(s->diag, SNL_E_MACHINE, s->path, "cannot write the weights: %s",
                        strerror(errno));
}

/* Past stdio, whose buffer would cut a page off each block. */
static SnlStatus flush(Stream *s)
{
    if (fflush(s->file) != 0) return write_failed(s);
    for (size_t at = 0; at < s->n;) {
        ssize_t n = write(fileno(s->file), s->block + at, s->n - at);
        if (n == 0) errno = EIO;
        if (n <= 0 && errno != EINTR) return write_failed(s);
        if (n > 0) at += (size_t)n;
    }
    s->n = 0;
    return SNL_OK;
}

static SnlStatus put(void *user, const void *bytes, size_t nbytes)
{
    Stream *s = user;
    for (const uint8_t *from = bytes; nbytes;) {
        size_t n = nbytes < BLOCK_NBYTES - s->n ? nbytes : BLOCK_NBYTES - s->n;
        memcpy(s->block + s->n, from, n);
        s->n += n;
        from += n;
        nbytes -= n;
        if (s->n == BLOCK_NBYTES) SNL_TRY(flush(s));
    }
    return SNL_OK;
}

static SnlStatus put_zeros(Stream *s, uint64_t nbytes)
{
    static const uint8_t zeros[4096];
    while (nbytes) {
        size_t n = nbytes < sizeof zeros ? (size_t)nbytes : sizeof zeros;
        SNL_TRY(put(s, zeros, n));
        nbytes -= n;
    }
    return SNL_OK;
}

static const char *layout_text(SnlLayout layout)
{
    static const char *const text[] = {"plain", "panels", "rows"};
    return text[layout];
}

static const char *format_text(const SnlPackedWeight *w)
{
    SnlDtype dtype = w->layout == SNL_LAYOUT_PLAIN ? SNL_F32 : w->weight->type->dtype;
    return snl_dtype_info[dtype].text;
}

static void hash_text(XXH3_state_t *hash, const char *text)
{
    XXH3_64bits_update(hash, text, strlen(text) + 1);
}

uint64_t snl_trailer_id(const SnlPayload *payload, const void *tokenizer, size_t nbytes)
{
    XXH3_state_t *hash = XXH3_createState();
    SNL_ASSERT(hash);
    XXH3_64bits_reset(hash);
    for (size_t i = 0; i < payload->n; i++) {
        const SnlPackedWeight *w = &payload->at[i];
        int64_t place[4] = {w->offset, w->nbytes, snl_weight_rows(w->weight),
                            snl_weight_cols(w->weight)};
        hash_text(hash, w->weight->name);
        hash_text(hash, format_text(w));
        hash_text(hash, layout_text(w->layout));
        XXH3_64bits_update(hash, place, sizeof place);
    }
    if (nbytes) XXH3_64bits_update(hash, tokenizer, nbytes);
    uint64_t id = XXH3_64bits_digest(hash);
    XXH3_freeState(hash);
    return id;
}

/* One line per weight. Names need no escapes: letters, digits, '_' and '.' only. */
static char *manifest_text(SnlArena *arena, const SnlTrailer *t, const SnlWritten *written)
{
    SnlVec(char) text = {0};
    char *line = snl_arena_printf(arena, "{\"payload_id\": \"%016" PRIx64 "\",\n \"weights\": [",
                                  t->payload_id);
    for (size_t i = 0; i <= t->payload->n; i++) {
        for (const char *c = line; *c; c++) SNL_PUSH(arena, &text, *c);
        if (i == t->payload->n) break;
        const SnlPackedWeight *w = &t->payload->at[i];
        line = snl_arena_printf(arena,
                                "%s\n  {\"name\": \"%s\", \"format\": \"%s\", \"layout\": \"%s\", "
                                "\"rows\": %" PRId64 ", \"cols\": %" PRId64 ", \"offset\": %" PRId64
                                ", \"bytes\": %" PRId64 ", \"xxh3\": \"%016" PRIx64 "\"}",
                                i ? "," : "", w->weight->name, format_text(w),
                                layout_text(w->layout), snl_weight_rows(w->weight),
                                snl_weight_cols(w->weight), w->offset, w->nbytes, written[i].hash);
    }
    for (const char *c = "\n ]}\n"; *c; c++) SNL_PUSH(arena, &text, *c);
    SNL_PUSH(arena, &text, '\0');
    return text.at;
}

/* Tokenizer, manifest and footer, after the weights. */
static SnlStatus append_rest(Stream *s, const SnlTrailer *t, uint64_t payload_offset,
                             const char *manifest)
{
    SnlrtFooter footer = {.payload_offset = payload_offset,
                          .weights_bytes = (uint64_t)t->payload->nbytes,
                          .tokenizer_offset = (uint64_t)t->payload->nbytes,
                          .tokenizer_bytes = t->tokenizer_nbytes,
                          .manifest_bytes = strlen(manifest),
                          .payload_id = t->payload_id,
                          .magic = SNLRT_FOOTER_MAGIC};
    uint64_t end = footer.tokenizer_offset + footer.tokenizer_bytes;
    footer.manifest_offset = (end + SNL_PACK_ALIGN - 1) / SNL_PACK_ALIGN * SNL_PACK_ALIGN;
    if (t->tokenizer_nbytes) SNL_TRY(put(s, t->tokenizer, t->tokenizer_nbytes));
    SNL_TRY(put_zeros(s, footer.manifest_offset - end));
    SNL_TRY(put(s, manifest, footer.manifest_bytes));
    SNL_TRY(put(s, &footer, sizeof footer));
    return flush(s);
}

SnlStatus snl_trailer_append(FILE *stream, const SnlTrailer *trailer, SnlDiag *diag,
                             SnlProgress *progress, void *progress_user)
{
    off_t end = ftello(stream);
    if (end < 0)
        return snl_error_at(diag, SNL_E_MACHINE, trailer->path,
                            "the output is not a plain file: %s", strerror(errno));
    uint64_t align =
        trailer->payload->nbytes < SNLRT_HUGE_WEIGHTS ? SNLRT_PAYLOAD_ALIGN : SNLRT_HUGE_ALIGN;
    uint64_t offset = ((uint64_t)end + align - 1) / align * align;
    SnlArena *arena = snl_arena_create();
    Stream s = {stream, diag, trailer->path, 0, snl_arena_alloc(arena, BLOCK_NBYTES)};
    SnlWritten *written = trailer->written;
    if (!written) written = SNL_NEW_ARRAY(arena, SnlWritten, trailer->payload->n);
    SnlStatus status = put_zeros(&s, offset - (uint64_t)end);
    if (status == SNL_OK) status = flush(&s); /* blocks begin with the payload */
    if (status == SNL_OK)
        status = snl_payload_write(trailer->payload, trailer->source, diag, put, &s, progress,
                                   progress_user, written);
    if (status == SNL_OK)
        status = append_rest(&s, trailer, offset, manifest_text(arena, trailer, written));
    snl_arena_destroy(arena);
    return status;
}
