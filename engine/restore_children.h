/*
 * The two halves of a restore: the restored key's own rows (keystore_restore.c) and the keys that
 * hang below it (restore_children.c). Private to the keystore; all calls run under its lock.
 */
#ifndef PK_ENGINE_RESTORE_CHILDREN_H
#define PK_ENGINE_RESTORE_CHILDREN_H

#include "engine/keyring.h"

typedef struct pk_restore {
    pk_keystore *ks;
    const pk_keyset *set;
    pk_arena *arena;
    pk_restore_report *report;
    const pk_ring_asker *asker; /* whose opened keys count; NULL: nobody's */
    const pk_restore_order *order;
    int64_t now;
    const pk_keyset_key *newest_key; /* in the file */
} pk_restore;

/* Every key of the catalog, to look for children in. */
typedef struct pk_ring_list {
    pk_ring_key *list;
    size_t count;
} pk_ring_list;

/* A wrap whose parent is a key of the kind that is being restored. */
typedef struct pk_child {
    pk_ring_key *ring;
    pk_row_wrap *wrap;
    pk_secret *secret; /* NULL: could not be opened */
    bool damaged;      /* the row itself: it stays as it is */
} pk_child;

typedef struct pk_children {
    pk_child *list;
    size_t count;
} pk_children;

void pk_children_clear(pk_children *children);

/* Finds the children and opens those that the catalog's parent or the restored key opens. `by` is
 * the kind of their wraps; `parent` NULL: whatever the parent's uuid is (there is one service
 * master key). */
bool pk_children_collect(pk_restore *r, const char *by, const uint8_t *parent,
                         const pk_ring_list *rings, pk_children *out, pk_error *err) PK_MUST_USE;
/* Without FORCE: one message that lists every child that would be lost. */
bool pk_children_refuse_lost(pk_restore *r, const pk_children *children, pk_error *err) PK_MUST_USE;
bool pk_children_any_quarantined(const pk_children *children);
/* Inside the transaction: under the restored key, or into quarantine. `merged`: the key stays the
 * one it was, so a child that opens stays as it is. */
bool pk_children_move(pk_restore *r, const pk_children *children, const pk_ring_parent *parent,
                      bool merged, pk_error *err) PK_MUST_USE;

#endif
