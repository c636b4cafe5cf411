-- The script of test_transparency.py: everything psql does that is not ours. It runs in an empty directory,
-- without a terminal, with the answers to \password on standard input. Process numbers differ by nature;
-- each is printed once as "PID n" and blanked by the test.
\set ON_ERROR_STOP 0
\pset pager off
\encoding UTF8
select pg_backend_pid() as pid \gset
\echo PID :pid

\echo == tables and \d
create schema s;
create table s.item (id int primary key, name text not null default 'none', price numeric(10,2) check (price > 0),
    made timestamptz default '2001-02-03 04:05:06+00', tags text[], doc jsonb, raw bytea);
create index item_name on s.item (lower(name));
create view s.cheap as select id, name from s.item where price < 10;
create sequence s.counter;
create type s.mood as enum ('sad', 'ok', 'happy');
create function s.add(a int, b int) returns int language sql immutable as 'select a + b';
comment on table s.item is 'Grüße, 財务, 🗝';
\d
\d s.*
\d+ s.item
\dt+ s.*
\dv s.*
\ds s.*
\dT+ s.*
\df+ s.*
\di s.*
\dn
\du
\l t
\dp s.*
\sf s.add
\sv s.cheap
\d nosuch
\dconfig search_path

\echo == rows, all kinds
insert into s.item (id, name, price, tags, doc, raw) values
    (1, 'plain', 1.5, '{a,b}', '{"k": [1, 2, null]}', '\x00ff10'),
    (2, 'quote '' and " and \ and' || chr(9) || 'tab', 2, null, 'null', ''),
    (3, 'Ünïcödé 財务 🗝 ' || chr(10) || 'second line', 99999999.99, '{}', '{}', decode('deadbeef', 'hex'));
select * from s.item order by id;
\x on
select * from s.item order by id;
\x off
\a
select * from s.item order by id;
\a
select null, '', ' ', e'\x01', 'NaN'::float8, 'infinity'::timestamp, row(1, 'two'), array[[1,2],[3,4]];
select;
select from s.item;
\H
table s.cheap;
\H
select 1 as a \; select 2 as b \; select 3 as c;
\gdesc
select name, price from s.item \gdesc
select id as the_id from s.item where id = 2 \gset
\echo :the_id
select format('select %s', n) from generate_series(1, 3) n \gexec
select n % 3 as x, n % 2 as y, n as z from generate_series(1, 6) n \crosstabview

\echo == large results
select n, md5(n::text), repeat('x', n % 300) from generate_series(1, 30000) n;
select length(repeat('long', 2000000)), md5(repeat('long', 2000000));
\o /dev/null
select repeat('one long value ', 2000000);
\o
select string_agg(chr(65 + n % 26), '') from generate_series(1, 1000000) n;
\set FETCH_COUNT 100
select n, repeat('y', 50) from generate_series(1, 3000) n;
\unset FETCH_COUNT

\echo == errors
select 1/0;
select * from nowhere;
selec 1;
select 'unterminated;
';
select * from s.item where naem = 'x';
insert into s.item (id) values (1);
insert into s.item (id, price) values (7, -1);
\set VERBOSITY verbose
select 1/0;
selec 1;
raise;
\set VERBOSITY default
\errverbose
set nosuch.setting = 1;
set nosuch = 1;
do $$ begin raise exception 'mine' using errcode = 'P1234', detail = 'détail', hint = 'a hint', column = 'c', table = 't'; end $$;

\echo == notices
do $$ begin
    raise notice 'a notice %', 42; raise warning 'a warning'; raise info 'an info';
    raise notice using message = 'with all', detail = 'the detail', hint = 'the hint', errcode = '01234';
    raise log 'not for the client'; raise debug 'nor this';
end $$;
set client_min_messages = error;
drop table if exists not_there;
reset client_min_messages;
drop table if exists not_there;

\echo == transactions
begin;
insert into s.item (id) values (10);
savepoint a;
insert into s.item (id) values (10);
select 'aborted';
rollback to a;
release a;
commit;
select id from s.item where id = 10;
begin isolation level serializable read only deferrable;
show transaction_isolation;
delete from s.item;
commit;
commit;
rollback;
start transaction;
begin;
select txid_current_if_assigned() is null;
end;
begin; select 1; \; select 2; rollback;
begin \; insert into s.item (id) values (11) \; select 1/0 \; commit;
rollback;
select count(*) from s.item where id = 11;

\echo == prepared statements
prepare one (int, text) as select $1 + 1, $2 || '!';
execute one (41, 'yes');
execute one (41);
execute one ('x', 'y');
prepare one as select 2;
select name, statement, parameter_types from pg_prepared_statements;
explain (costs off) execute one (1, '');
deallocate one;
execute one (1, '2');
deallocate all;
prepare backup as select 'called backup';
execute backup;

\echo == cursors
begin;
declare c scroll cursor with hold for select n from generate_series(1, 20) n;
declare master cursor for select 1;
fetch 3 from c;
fetch backward 2 from c;
fetch all from master;
close master;
move 5 in c;
fetch absolute 20 from c;
fetch from c;
commit;
fetch backward 2 from c;
close all;
fetch from c;

\echo == COPY both ways
copy s.item (id, name, tags) from stdin;
20	from copy	{x}
21	tab\there	\N
22	back\\slash	{"q\\"q"}
\.
copy s.item (id, name) from stdin with (format csv, header);
id,name
30,"comma, and ""quote"""
31,"two
lines"
\.
copy s.item (id) from stdin;
not a number
\.
copy s.item (id) from stdin;
1
\.
copy (select id, name, raw from s.item order by id) to stdout;
copy (select id, name from s.item order by id) to stdout with (format csv, force_quote *, header);
copy (select n, repeat('z', 100) from generate_series(1, 20000) n) to stdout;
copy nosuch to stdout;
copy (select 1/0) to stdout;
copy (select 10/(5000 - n) from generate_series(1, 6000) n) to stdout;
copy (select n, sqrt(n) from generate_series(1, 50) n) to stdout with (format binary);
\copy (select id, name from s.item order by id) to 'out.txt'
create table copied (id int, name text);
\copy copied from 'out.txt'
\copy copied to stdout csv
\copy copied from 'nosuch.txt'
\copy nosuch from 'out.txt'
\copy (select n, md5(n::text) from generate_series(1, 50000) n) to 'big.txt'
create table big (n int, h text);
\copy big from 'big.txt'
select count(*), md5(string_agg(h, '' order by n)) from big;
\copy big to program 'md5sum'
table copied \g (format=csv)

\echo == LISTEN and NOTIFY
listen news;
notify news;
notify news, 'with a payload: Grüße';
select pg_notify('news', repeat('n', 7000));
unlisten *;
notify news, 'nobody hears';
select pg_notify('news', repeat('n', 9000));

\echo == settings, statements that look a little like ours
show search_path;
show backup.retention;
set backup.retention = '7d';
show backup.retention;
show "jobs";
set encryption to on;
reset encryption;
select 'BACKUP SERVICE MASTER KEY TO FILE = ''x''' as text;
/* BACKUP INTO 'x' */ select 'BACKUP DATABASE x' as "RESTORE MASTER KEY";
create table backup (key text, master int);
table backup;
grant backup on database t to postgres;
alter system set archive_timeout = '1h';
alter system reset archive_timeout;
close master;
drop table backup;
set standard_conforming_strings = off;
select 'a\'b;c' as "escaped";
set standard_conforming_strings = on;
set client_encoding = 'LATIN1';
select 'ümläut';
select '財';
set client_encoding = 'UTF8';
set timezone = 'Asia/Tokyo';
set datestyle = 'German';
select '2001-02-03'::date;
set application_name = 'Änderung';
set session authorization postgres;
create role other; set role other; select current_user; reset role; drop role other;

\echo == large objects, functions, password
select lo_from_bytea(70000, 'large object');
\lo_list
\lo_export 70000 'lo.bin'
select length(lo_get(70000));
\lo_unlink 70000
create role someone login;
\password someone
\password nobody_here
select rolpassword like 'SCRAM-SHA-256$%' from pg_authid where rolname = 'someone';
drop role someone;

\echo == reconnect
\c t
select pg_backend_pid() as pid \gset
\echo PID :pid
select current_database(), current_user, inet_server_addr();
vacuum s.item;
vacuum (verbose, analyze) nosuch;
discard all;
select 1 \bind
;;;
-- only a comment
/* only a comment */;
drop schema s cascade;
select count(*) from pg_class where relname = 'item';
set statement_timeout = '200ms';
select pg_sleep(30);
reset statement_timeout;
\c t nosuchrole
\echo a failed reconnect leaves no connection
select 1;
