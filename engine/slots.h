/*
 * Private to the keystore: the unlock slots' rows, and the store key inside them (keys-and-security
 * 2.1). Whatever its kind, a slot comes down to a secret: the bytes of root.key, of a recovery
 * code, or what scrypt makes of a password. One more derivation binds it to this store, the wrap's
 * context to this slot. docs/formats/catalog.md, "Unlock slots".
 *
 * All calls run under the keystore's lock, but for pk_slot_unwrap and pk_slot_password, which need
 * none.
 */
#ifndef PK_ENGINE_SLOTS_H
#define PK_ENGINE_SLOTS_H

#include "engine/keyring.h"

#define PK_SLOT_KIND_FILE     "file"
#define PK_SLOT_KIND_PASSWORD "password"
#define PK_SLOT_KIND_RECOVERY "recovery"

#define PK_SLOT_ROWS_MAX (1u << 20) /* memory for all slots' rows */

/* The slot's secret from a password, by the parameters in the slot's row. Slow. */
pk_secret *pk_slot_password(const pk_secret *password, const pk_row_slot *slot,
                            pk_error *err) PK_MUST_USE;
/* The store key. 28P01 if this secret does not open this slot. */
pk_secret *pk_slot_unwrap(const uint8_t store[static 16], const pk_secret *secret,
                          const pk_row_slot *slot, pk_error *err) PK_MUST_USE;
/* The store key by a `file` slot that root.key opens, and that slot. 58P01, 42501, XX001 root.key
 * is absent, not private, no key; 28P01 it opens none; 42704 there is no `file` slot. */
pk_secret *pk_slot_open_file(pk_keystore *ks, pk_arena *arena, pk_row_slot *slot,
                             pk_error *err) PK_MUST_USE;

bool pk_slot_rows(pk_keystore *ks, pk_arena *arena, pk_row_slot **list, size_t *count,
                  pk_error *err) PK_MUST_USE;
/* Inside a transaction. insert fills id, blob and created_at; the rest is the caller's. */
bool pk_slot_insert(pk_keystore *ks, const pk_secret *secret, const pk_row_slot *slot, int64_t *id,
                    pk_error *err) PK_MUST_USE;
/* Inside a transaction: last_ok_at is now. */
bool pk_slot_used(pk_keystore *ks, const pk_row_slot *slot, pk_error *err) PK_MUST_USE;
/* The row of the slot that every keystore is born with. */
pk_row_slot pk_slot_file_row(void);

/* Which kinds of slots there are, and the statement that uses them, as the error's hint. False. */
bool pk_slot_hint(const pk_keystore *ks, pk_error *err);

#endif
