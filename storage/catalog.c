/*
 * The catalog's rules, above any driver: a MAC on every row that matters (keys-and-security 3.3),
 * an epoch that grows by one per commit, a hash chain through the audit rows (10.3). A row that was
 * changed behind our back is reported and nothing else suffers; a store row that was changed ends
 * all writing, because every commit seals that row anew and would make the forgery ours.
 *
 * What the MACs cannot see: a row that was deleted, a row put back to its own earlier content and
 * MAC, a whole file put back to an earlier state. For the store and audit rows the chain and the
 * epochs show the first two; the third shows against the audit heads that key files carry.
 */
#include "storage/catalog.h"

#include "base/encode.h"
#include "crypto/digest.h"
#include "crypto/kdf.h"
#include "storage/catalog_driver.h"

#include <stdio.h>

#define AUDIT_ROW_MAX (4u << 20) /* memory for one audit row while it is checked */

struct pk_catalog {
    pk_catalog_driver driver;
    const pk_clock *clock;
    pk_secret *row_key; /* NULL while sealed */
    pk_secret *audit_key;
    bool in_transaction;
    bool failed;   /* a change of this transaction was not made: it must not be committed */
    bool scrub;    /* a blob was overwritten or erased in this transaction */
    int64_t epoch; /* of the store when this transaction began */
};

pk_catalog *pk_catalog_new(pk_catalog_driver driver, const pk_clock *clock)
{
    pk_catalog *catalog = pk_new(pk_catalog);
    catalog->driver = driver;
    catalog->clock = clock;
    return catalog;
}

pk_catalog *pk_catalog_open_sqlite(const char *state_dir, bool create, const pk_clock *clock,
                                   pk_error *err)
{
    pk_catalog_driver driver = pk_catalog_sqlite_driver(state_dir, create, clock, err);
    return driver.ops == NULL ? NULL : pk_catalog_new(driver, clock);
}

void pk_catalog_close(pk_catalog *catalog)
{
    if (catalog == NULL)
        return;
    pk_catalog_rollback(catalog);
    pk_catalog_seal(catalog);
    catalog->driver.ops->close(catalog->driver.self);
    pk_free(catalog);
}

bool pk_catalog_unseal(pk_catalog *catalog, const pk_secret *store_key, pk_error *err)
{
    PK_AUTO_PTR(pk_secret_free)
    pk_secret *row_key = pk_hkdf(store_key, PK_LABEL_ROW, PK_SPAN(""), err);
    if (row_key == NULL)
        return false;
    pk_secret *audit_key = pk_hkdf(store_key, PK_LABEL_AUDIT, PK_SPAN(""), err);
    if (audit_key == NULL)
        return false;
    pk_catalog_seal(catalog);
    catalog->row_key = pk_steal(&row_key);
    catalog->audit_key = audit_key;
    return true;
}

void pk_catalog_seal(pk_catalog *catalog)
{
    pk_secret_free(pk_steal(&catalog->row_key));
    pk_secret_free(pk_steal(&catalog->audit_key));
}

static bool must_be_unsealed(const pk_catalog *catalog, pk_error *err)
{
    return catalog->row_key != NULL || pk_fail(err, PK_E_STATE, "keystore is sealed");
}

static bool must_be_in_transaction(const pk_catalog *catalog, pk_error *err)
{
    return catalog->in_transaction ||
           pk_fail(err, PK_E_INTERNAL, "catalog was changed outside a transaction");
}

/* The MAC of a row's values. */
static bool row_mac(const pk_catalog *catalog, const pk_table *table, const pk_value *values,
                    uint8_t mac[static PK_MAC_LEN], pk_error *err)
{
    PK_AUTO(pk_buf_clear) pk_buf canonical = PK_BUF_MAX(PK_ROW_MAX);
    return pk_table_canonical(table, values, &canonical, err) &&
           pk_hmac_sha256(catalog->row_key, pk_buf_span(&canonical), mac, err);
}

/* Is the stored MAC the right one? Sealed, or a table without MAC: taken as it is. */
static bool check_mac(const pk_catalog *catalog, const pk_table *table, const pk_value *values,
                      bool *sound, pk_error *err)
{
    if (!table->has_mac || catalog->row_key == NULL)
        return true;
    const pk_value *stored = &values[table->count];
    uint8_t mac[PK_MAC_LEN];
    if (!row_mac(catalog, table, values, mac, err))
        return false;
    if (stored->type != PK_VALUE_BLOB || stored->bytes.len != sizeof mac ||
        !pk_digest_equal(mac, (const uint8_t *)stored->bytes.ptr))
        *sound = false;
    return true;
}

static bool fail_damaged(const pk_table *table, const pk_value *values, pk_error *err)
{
    char which[256];
    pk_table_describe(table, values, which, sizeof which);
    pk_fail(err, PK_E_CORRUPT, "row %s of catalog table \"%s\" is damaged", which, table->name);
    return pk_error_detail(err, "Its contents are not what pgkeep wrote.");
}

/* Reading: rows are copied into an array in the caller's arena that doubles when it is full. */

typedef struct row_reader {
    const pk_catalog *catalog;
    const pk_table *table;
    pk_arena *arena;
    pk_rows *rows;
    size_t room;
    bool mark; /* damaged rows are marked; otherwise they fail the call */
} row_reader;

static bool make_room(row_reader *reader, pk_error *err)
{
    pk_rows *rows = reader->rows;
    if (rows->count < reader->room)
        return true;
    size_t room = reader->room == 0 ? 8 : reader->room * 2;
    void *list = pk_arena_array(reader->arena, room, reader->table->row_size, err);
    bool *damaged = list == NULL ? NULL : pk_arena_array(reader->arena, room, sizeof(bool), err);
    if (damaged == NULL)
        return false;
    if (rows->count > 0) {
        memcpy(list, rows->list, rows->count * reader->table->row_size);
        memcpy(damaged, rows->damaged, rows->count * sizeof(bool));
    }
    rows->list = list;
    rows->damaged = damaged;
    reader->room = room;
    return true;
}

static bool read_row(void *ctx, const pk_value *values, pk_error *err)
{
    row_reader *reader = ctx;
    const pk_table *table = reader->table;
    pk_rows *rows = reader->rows;
    if (!make_room(reader, err))
        return false;
    char *row = (char *)rows->list + rows->count * table->row_size;
    bool sound = true;
    if (!pk_table_load(table, values, reader->arena, row, &sound, err) ||
        !check_mac(reader->catalog, table, values, &sound, err))
        return false;
    if (!sound && !reader->mark)
        return fail_damaged(table, values, err);
    rows->damaged[rows->count++] = !sound;
    return true;
}

static bool read_rows(const pk_catalog *catalog, pk_table_id id, const pk_select *what,
                      pk_arena *arena, pk_rows *rows, pk_error *err)
{
    bool mark = rows->damaged != NULL;
    *rows = (pk_rows){0};
    row_reader reader = {
        .catalog = catalog, .table = pk_table_of(id), .arena = arena, .rows = rows, .mark = mark};
    bool ok = catalog->driver.ops->select(catalog->driver.self, reader.table, what, read_row,
                                          &reader, err);
    if (!mark)
        rows->damaged = NULL;
    return ok;
}

bool pk_catalog_rows(pk_catalog *catalog, pk_table_id table, const uint8_t *key_uuid,
                     pk_arena *arena, pk_rows *rows, pk_error *err)
{
    if (key_uuid != NULL && pk_table_of(table)->of == NULL)
        return pk_fail(err, PK_E_INTERNAL, "catalog table \"%s\" does not belong to a key",
                       pk_table_of(table)->name);
    return read_rows(catalog, table, &(pk_select){.of_key = key_uuid}, arena, rows, err);
}

/* The store row into *row; *found says whether there is one. */
static bool read_store(const pk_catalog *catalog, pk_arena *arena, bool even_damaged,
                       pk_row_store *row, bool *found, pk_error *err)
{
    pk_rows rows = even_damaged ? PK_ROWS_MARK : (pk_rows){0};
    if (!read_rows(catalog, PK_TABLE_STORE, &(pk_select){0}, arena, &rows, err))
        return false;
    *found = rows.count > 0;
    if (*found)
        memcpy(row, rows.list, sizeof *row);
    return true;
}

bool pk_catalog_store(pk_catalog *catalog, pk_arena *arena, pk_row_store *row, pk_error *err)
{
    bool found = false;
    if (err != NULL)
        *err = (pk_error){0};
    return read_store(catalog, arena, true, row, &found, err) && found;
}

static bool fail_not_initialised(pk_error *err)
{
    return pk_fail(err, PK_E_STATE, "keystore is not initialised");
}

/* The newest audit row; *found says whether there is one. */
static bool read_audit_tail(const pk_catalog *catalog, pk_arena *arena, pk_row_audit *row,
                            bool *found, pk_error *err)
{
    pk_rows rows = {0};
    if (!read_rows(catalog, PK_TABLE_AUDIT, &(pk_select){.newest = true}, arena, &rows, err))
        return false;
    *found = rows.count > 0;
    if (*found)
        memcpy(row, rows.list, sizeof *row);
    return true;
}

/* The hash of an audit row: HMAC over the previous row's hash and this row without prev and hash.
 */
static bool audit_hash(const pk_catalog *catalog, const pk_row_audit *row,
                       uint8_t hash[static PK_MAC_LEN], pk_error *err)
{
    static const char none[PK_MAC_LEN];
    PK_AUTO(pk_buf_clear) pk_buf canonical = PK_BUF_MAX(PK_ROW_MAX);
    pk_value values[PK_TABLE_VALUES_MAX];
    pk_row_audit plain = *row;
    plain.hash = pk_span_bytes(none, sizeof none); /* left out of the canonical form, not empty */
    return pk_table_store(pk_table_of(PK_TABLE_AUDIT), &plain, values, err) &&
           pk_buf_append_span(&canonical, row->prev, err) &&
           pk_table_canonical(pk_table_of(PK_TABLE_AUDIT), values, &canonical, err) &&
           pk_hmac_sha256(catalog->audit_key, pk_buf_span(&canonical), hash, err);
}

static bool check_audit_row(const pk_catalog *catalog, const pk_row_audit *row, pk_error *err)
{
    uint8_t hash[PK_MAC_LEN];
    if (!audit_hash(catalog, row, hash, err))
        return false;
    if (row->hash.len != sizeof hash || !pk_digest_equal(hash, (const uint8_t *)row->hash.ptr))
        return pk_fail(err, PK_E_CORRUPT, "audit row %lld is damaged", (long long)row->seq);
    return true;
}

/* The store row is sound, and the newest audit row was written with it. */
static bool check_store_and_tail(const pk_catalog *catalog, pk_error *err)
{
    PK_AUTO(pk_arena_clear) pk_arena arena = PK_ARENA_MAX(AUDIT_ROW_MAX);
    pk_row_store store = {0};
    pk_row_audit tail = {0};
    bool initialised = false;
    bool any_audit = false;
    if (!must_be_unsealed(catalog, err) ||
        !read_store(catalog, &arena, false, &store, &initialised, err))
        return false;
    if (!initialised)
        return fail_not_initialised(err);
    if (!read_audit_tail(catalog, &arena, &tail, &any_audit, err) ||
        (any_audit && !check_audit_row(catalog, &tail, err)))
        return false;
    if (tail.epoch == store.epoch)
        return true;
    pk_fail(err, PK_E_CORRUPT, "the keystore and its audit trail do not belong together");
    return pk_error_detail(err, "The store is at epoch %lld, its newest audit row at epoch %lld.",
                           (long long)store.epoch, (long long)tail.epoch);
}

bool pk_catalog_verify(pk_catalog *catalog, pk_error *err)
{
    PK_AUTO(pk_arena_clear) pk_arena arena = PK_ARENA_MAX(PK_ROW_MAX);
    pk_rows slots = {0};
    return check_store_and_tail(catalog, err) &&
           read_rows(catalog, PK_TABLE_SLOT, &(pk_select){0}, &arena, &slots, err);
}

/* Walking the chain: one row at a time, each with its own short-lived arena. */

typedef struct chain_walk {
    const pk_catalog *catalog;
    int64_t seq, epoch; /* of the row before */
    uint8_t hash[PK_MAC_LEN];
    pk_catalog_walk *result;
} chain_walk;

static bool step_row(void *ctx, const pk_value *values, pk_error *err)
{
    chain_walk *walk = ctx;
    PK_AUTO(pk_arena_clear) pk_arena arena = PK_ARENA_MAX(AUDIT_ROW_MAX);
    pk_row_audit row;
    bool sound = true;
    if (!pk_table_load(pk_table_of(PK_TABLE_AUDIT), values, &arena, &row, &sound, err))
        return false;
    if (!sound)
        return fail_damaged(pk_table_of(PK_TABLE_AUDIT), values, err);
    if (row.seq != walk->seq + 1 || row.epoch != walk->epoch + 1)
        return pk_fail(err, PK_E_CORRUPT, "an audit row is missing or moved after row %lld",
                       (long long)walk->seq);
    if (row.prev.len != sizeof walk->hash ||
        !pk_digest_equal((const uint8_t *)row.prev.ptr, walk->hash))
        return pk_fail(err, PK_E_CORRUPT, "audit row %lld does not follow the row before it",
                       (long long)row.seq);
    if (!check_audit_row(walk->catalog, &row, err))
        return false;
    walk->seq = row.seq;
    walk->epoch = row.epoch;
    memcpy(walk->hash, row.hash.ptr, sizeof walk->hash); /* its length was checked above */
    walk->result->rows++;
    if (walk->result->known != NULL && pk_digest_equal(walk->hash, walk->result->known))
        walk->result->found = true;
    return true;
}

bool pk_catalog_audit_verify(pk_catalog *catalog, pk_error *err)
{
    return pk_catalog_audit_walk(catalog, &(pk_catalog_walk){0}, err);
}

bool pk_catalog_audit_walk(pk_catalog *catalog, pk_catalog_walk *result, pk_error *err)
{
    chain_walk walk = {.catalog = catalog, .result = result};
    result->rows = 0;
    result->found = false;
    return must_be_unsealed(catalog, err) &&
           catalog->driver.ops->select(catalog->driver.self, pk_table_of(PK_TABLE_AUDIT),
                                       &(pk_select){0}, step_row, &walk, err) &&
           check_store_and_tail(catalog, err);
}

bool pk_catalog_audit_head(pk_catalog *catalog, char hex[static 65], int64_t *epoch, pk_error *err)
{
    PK_AUTO(pk_arena_clear) pk_arena arena = PK_ARENA_MAX(AUDIT_ROW_MAX);
    pk_row_audit tail = {0};
    bool found = false;
    hex[0] = '\0';
    if (!read_audit_tail(catalog, &arena, &tail, &found, err))
        return false;
    if (tail.hash.len == PK_MAC_LEN)
        pk_hex(tail.hash.ptr, tail.hash.len, hex);
    if (epoch != NULL)
        *epoch = tail.epoch;
    return true;
}

bool pk_catalog_begin(pk_catalog *catalog, pk_error *err)
{
    PK_AUTO(pk_arena_clear) pk_arena arena = PK_ARENA_MAX(PK_ROW_MAX);
    pk_row_store store = {0};
    bool found = false;
    if (catalog->in_transaction)
        return pk_fail(err, PK_E_INTERNAL, "a catalog transaction is open already");
    if (!catalog->driver.ops->begin(catalog->driver.self, err))
        return false;
    catalog->in_transaction = true;
    catalog->failed = false;
    catalog->scrub = false;
    if (!read_store(catalog, &arena, true, &store, &found, err)) {
        pk_catalog_rollback(catalog);
        return false;
    }
    catalog->epoch = store.epoch;
    return true;
}

void pk_catalog_rollback(pk_catalog *catalog)
{
    if (!catalog->in_transaction)
        return;
    catalog->in_transaction = false;
    catalog->driver.ops->rollback(catalog->driver.self);
}

typedef bool (*writer)(void *self, const pk_table *table, const pk_value *values, pk_error *err);

/* The row with its MAC, through the driver's insert or update. */
static bool write_row(pk_catalog *catalog, const pk_table *table, writer write, const void *row,
                      pk_error *err)
{
    pk_value values[PK_TABLE_VALUES_MAX];
    uint8_t mac[PK_MAC_LEN];
    if (!pk_table_store(table, row, values, err))
        return false;
    if (table->has_mac) {
        if (!row_mac(catalog, table, values, mac, err))
            return false;
        values[table->count] = (pk_value){PK_VALUE_BLOB, 0, pk_span_bytes(mac, sizeof mac)};
    }
    return write(catalog->driver.self, table, values, err);
}

/* What the three changing calls have in common. The audit trail grows by commit and is never
 * changed. */
static bool may_change(const pk_catalog *catalog, const pk_table *table, pk_error *err)
{
    if (table->id == PK_TABLE_AUDIT)
        return pk_fail(err, PK_E_INTERNAL, "the audit trail is written by commit only");
    return must_be_in_transaction(catalog, err) && must_be_unsealed(catalog, err);
}

static bool name_duplicate_key(const pk_row_key *row, pk_error *err)
{
    if (err == NULL || !pk_error_is(err, PK_E_DUPLICATE_OBJECT))
        return false;
    if (row->db_name[0] == '\0')
        return pk_fail(err, PK_E_DUPLICATE_OBJECT, "key \"%s\" exists already", row->name);
    return pk_fail(err, PK_E_DUPLICATE_OBJECT, "key \"%s\" of database \"%s\" exists already",
                   row->name, row->db_name);
}

static bool insert_row(pk_catalog *catalog, pk_table_id id, void *row, pk_error *err)
{
    const pk_table *table = pk_table_of(id);
    if (!may_change(catalog, table, err))
        return false;
    if (table->counts_up) {
        int64_t next = 0;
        if (!catalog->driver.ops->next_id(catalog->driver.self, table, &next, err))
            return false;
        memcpy((char *)row + table->columns[0].offset, &next, sizeof next);
    }
    if (write_row(catalog, table, catalog->driver.ops->insert, row, err))
        return true;
    return id == PK_TABLE_KEY && name_duplicate_key(row, err);
}

static bool update_row(pk_catalog *catalog, pk_table_id id, const void *row, pk_error *err)
{
    const pk_table *table = pk_table_of(id);
    if (!may_change(catalog, table, err))
        return false;
    catalog->scrub |= table->holds_blobs;
    if (write_row(catalog, table, catalog->driver.ops->update, row, err))
        return true;
    return id == PK_TABLE_KEY && name_duplicate_key(row, err);
}

static bool erase_row(pk_catalog *catalog, pk_table_id id, const void *row, pk_error *err)
{
    const pk_table *table = pk_table_of(id);
    pk_value values[PK_TABLE_VALUES_MAX];
    if (!may_change(catalog, table, err))
        return false;
    pk_table_store_key(table, row, values);
    catalog->scrub |= table->holds_blobs;
    return catalog->driver.ops->erase(catalog->driver.self, table, values, err);
}

/* A caller that overlooks a failed change must not save the others: commit looks at this. */
static bool remember(pk_catalog *catalog, bool done)
{
    catalog->failed |= !done;
    return done;
}

bool pk_catalog_insert(pk_catalog *catalog, pk_table_id id, void *row, pk_error *err)
{
    return remember(catalog, insert_row(catalog, id, row, err));
}

bool pk_catalog_update(pk_catalog *catalog, pk_table_id id, const void *row, pk_error *err)
{
    return remember(catalog, update_row(catalog, id, row, err));
}

bool pk_catalog_erase(pk_catalog *catalog, pk_table_id id, const void *row, pk_error *err)
{
    return remember(catalog, erase_row(catalog, id, row, err));
}

/* No honest catalog counts that far. */
static bool next_after(int64_t number, int64_t *next, pk_error *err)
{
    return !__builtin_add_overflow(number, 1, next) ||
           pk_fail(err, PK_E_CORRUPT, "epoch or audit number of the catalog is out of range");
}

/* The store row with the epoch that follows the one this transaction began with, whatever epoch a
 * caller wrote in between. A forged store row must not be sealed anew. */
static bool advance_epoch(pk_catalog *catalog, pk_error *err)
{
    PK_AUTO(pk_arena_clear) pk_arena arena = PK_ARENA_MAX(PK_ROW_MAX);
    pk_row_store store = {0};
    bool found = false;
    if (!read_store(catalog, &arena, false, &store, &found, err))
        return false;
    if (!found)
        return fail_not_initialised(err);
    return next_after(catalog->epoch, &store.epoch, err) &&
           write_row(catalog, pk_table_of(PK_TABLE_STORE), catalog->driver.ops->update, &store,
                     err);
}

/* A damaged tail is not built upon: the new row's hash would vouch for it. */
static bool append_audit(pk_catalog *catalog, const pk_row_audit *audit, pk_error *err)
{
    static const char none[PK_MAC_LEN];
    PK_AUTO(pk_arena_clear) pk_arena arena = PK_ARENA_MAX(AUDIT_ROW_MAX);
    pk_row_audit tail = {0};
    bool found = false;
    if (!read_audit_tail(catalog, &arena, &tail, &found, err) ||
        (found && !check_audit_row(catalog, &tail, err)))
        return false;
    uint8_t hash[PK_MAC_LEN];
    pk_row_audit row = *audit;
    if (!next_after(tail.seq, &row.seq, err) || !next_after(catalog->epoch, &row.epoch, err))
        return false;
    row.prev = found ? tail.hash : pk_span_bytes(none, sizeof none);
    if (row.at == 0)
        row.at = catalog->clock->wall_us(catalog->clock);
    if (!audit_hash(catalog, &row, hash, err))
        return false;
    row.hash = pk_span_bytes(hash, sizeof hash);
    return write_row(catalog, pk_table_of(PK_TABLE_AUDIT), catalog->driver.ops->insert, &row, err);
}

static bool may_commit(const pk_catalog *catalog, pk_error *err)
{
    if (!must_be_unsealed(catalog, err))
        return false;
    return !catalog->failed ||
           pk_fail(err, PK_E_INTERNAL, "a change in this catalog transaction has failed");
}

bool pk_catalog_commit(pk_catalog *catalog, const pk_row_audit *audit, pk_error *err)
{
    if (!must_be_in_transaction(catalog, err))
        return false;
    if (!may_commit(catalog, err) || !advance_epoch(catalog, err) ||
        !append_audit(catalog, audit, err)) {
        pk_catalog_rollback(catalog);
        return false;
    }
    catalog->in_transaction = false;
    return catalog->driver.ops->commit(catalog->driver.self, catalog->scrub, err);
}
