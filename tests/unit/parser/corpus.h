/*
 * The statements of tests/vectors/corpus/accept.sql and reject.sql. The format is described at the
 * top of those files.
 */
#ifndef PK_TESTS_CORPUS_H
#define PK_TESTS_CORPUS_H

#include "table.h"

#define CORPUS_MAX 512

typedef struct corpus_entry {
    char name[160];   /* for the report: file, number, tag line */
    const char *tags; /* the separator line without "--# " */
    const char *sql;
} corpus_entry;

typedef struct corpus {
    corpus_entry entries[CORPUS_MAX];
    size_t count;
} corpus;

#define CORPUS_FILES 4
#define CORPUS_BYTES ((size_t)1 << 16)

static inline void corpus_read(const char *path, char *text)
{
    FILE *file = fopen(path, "r");
    size_t len = file == NULL ? 0 : fread(text, 1, CORPUS_BYTES - 1, file);
    if (len == 0) {
        fprintf(stderr, "cannot read %s\n", path);
        abort();
    }
    text[len] = '\0';
    fclose(file);
}

static inline void corpus_add(corpus *c, const char *file, char *tags, char *sql)
{
    size_t len = strlen(sql);
    if (len > 0 && sql[len - 1] == '\n')
        sql[len - 1] = '\0';
    char name[160];
    (void)snprintf(name, sizeof name, "%s %zu: %.40s | %.60s", file, c->count + 1, tags, sql);
    for (char *at = name; *at != '\0'; at++)
        if ((unsigned char)*at < ' ' || (unsigned char)*at > '~')
            *at = ' ';
    if (c->count == CORPUS_MAX)
        abort();
    corpus_entry *entry = &c->entries[c->count++];
    *entry = (corpus_entry){.tags = tags, .sql = sql};
    memcpy(entry->name, name, sizeof name);
}

/* Lives until the program ends. */
static inline corpus *corpus_load(const char *directory, const char *file)
{
    char path[512];
    (void)snprintf(path, sizeof path, "%s/%s", directory, file);
    static corpus loaded[CORPUS_FILES];
    static char texts[CORPUS_FILES][CORPUS_BYTES];
    static size_t count;
    if (count == CORPUS_FILES)
        abort();
    corpus *c = &loaded[count];
    char *text = texts[count++];
    corpus_read(path, text);
    char *at = strstr(text, "\n--# ");
    while (at != NULL) {
        char *tags = at + strlen("\n--# ");
        char *sql = strchr(tags, '\n');
        if (sql == NULL)
            break;
        *sql++ = '\0';
        /* An empty statement cannot stand in the file, so the next separator follows a line. */
        char *next = strstr(sql, "\n--# ");
        if (next != NULL)
            *next = '\0';
        corpus_add(c, file, tags, sql);
        at = next;
    }
    return c;
}

#endif
