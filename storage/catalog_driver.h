/*
 * Where the catalog's rows lie: the few things a database has to do for catalog.c. A driver stores
 * and finds values by the table descriptions; it knows nothing of MACs, epochs or audit. One thread
 * at a time; `self` belongs to the driver and ends with close.
 *
 * A driver finds the fault and chooses the SQLSTATE: 42710 for a second row where one is allowed,
 * 58030 for a full or failing disk, XX001 for damage, 55006 for somebody else's lock.
 */
#ifndef PK_STORAGE_CATALOG_DRIVER_H
#define PK_STORAGE_CATALOG_DRIVER_H

#include "storage/catalog_table.h"

typedef struct pk_select {
    const uint8_t *of_key; /* only rows of this key (tables with `of`); NULL: all */
    bool newest;           /* only the row with the highest first column */
} pk_select;

/* False with *err set ends the select, which then fails with that error. The values are the
 * driver's, until the next call. Must not call the driver. */
typedef bool (*pk_on_row)(void *ctx, const pk_value *values, pk_error *err);

typedef struct pk_catalog_ops {
    bool (*begin)(void *self, pk_error *err);
    /* Durable when it returns. On failure nothing happened. `scrub`: what was overwritten or erased
     * must not stay readable in the files; a failure of that alone is logged, not returned. */
    bool (*commit)(void *self, bool scrub, pk_error *err);
    void (*rollback)(void *self);
    /* An id that no row of the table has or had. */
    bool (*next_id)(void *self, const pk_table *table, int64_t *id, pk_error *err);
    bool (*insert)(void *self, const pk_table *table, const pk_value *values, pk_error *err);
    /* By primary key; exactly one row, or XX000. erase looks at the key's values only. */
    bool (*update)(void *self, const pk_table *table, const pk_value *values, pk_error *err);
    bool (*erase)(void *self, const pk_table *table, const pk_value *values, pk_error *err);
    bool (*select)(void *self, const pk_table *table, const pk_select *what, pk_on_row on_row,
                   void *ctx, pk_error *err);
    void (*close)(void *self);
} pk_catalog_ops;

typedef struct pk_catalog_driver {
    const pk_catalog_ops *ops;
    void *self;
} pk_catalog_driver;

/* Takes the driver over. */
pk_catalog *pk_catalog_new(pk_catalog_driver driver, const pk_clock *clock) PK_MUST_USE;

/* The SQLite driver alone, as pk_catalog_open_sqlite uses it; ops is NULL on failure. */
pk_catalog_driver pk_catalog_sqlite_driver(const char *state_dir, bool create,
                                           const pk_clock *clock, pk_error *err) PK_MUST_USE;

/* catalog_schema.sql, one string a step; step 1 is the first. */
extern const char *const pk_catalog_schema_steps[];
extern const int pk_catalog_schema_version;

#endif
