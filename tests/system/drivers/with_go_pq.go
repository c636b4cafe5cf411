// Go's lib/pq on a leash: one JSON request a line comes in, one answer a line goes out.
package main

import (
	"bufio"
	"context"
	"database/sql"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/lib/pq"
)

type step struct {
	SQL     string        `json:"sql"`
	Values  []interface{} `json:"values"`
	Prepare string        `json:"prepare"`
}

type request struct {
	step
	Op       string          `json:"op"`
	Port     int             `json:"port"`
	User     string          `json:"user"`
	Database string          `json:"database"`
	SSLMode  string          `json:"sslmode"`
	Steps    []step          `json:"steps"`
	Rows     [][]interface{} `json:"rows"`
	Table    string          `json:"table"`
	Lines    []string        `json:"lines"`
}

type answer map[string]interface{}

type session struct {
	in       *bufio.Reader
	pool     *sql.DB
	conn     *sql.Conn
	prepared map[string]*sql.Stmt
	notices  [][]string
}

// What a connection and a transaction of database/sql have in common.
type runner interface {
	QueryContext(context.Context, string, ...interface{}) (*sql.Rows, error)
}

func about(err error) answer {
	var fault *pq.Error
	if errors.As(err, &fault) {
		return answer{"error": answer{"class": "pq.Error", "sqlstate": string(fault.Code),
			"message": fault.Message, "hint": fault.Hint}}
	}
	return answer{"error": answer{"class": fmt.Sprintf("%T", err), "sqlstate": nil, "message": err.Error(), "hint": nil}}
}

// must ends the program: the test sees that the driver died, and why on standard error.
func must(err error) {
	if err != nil {
		panic(err)
	}
}

func inward(values []interface{}) []interface{} {
	inside := make([]interface{}, len(values))
	for i, value := range values {
		switch v := value.(type) {
		case json.Number:
			if number, err := v.Int64(); err == nil {
				inside[i] = number
			} else {
				number, err := v.Float64()
				must(err)
				inside[i] = number
			}
		case map[string]interface{}:
			raw, err := hex.DecodeString(v["bytes"].(string))
			must(err)
			inside[i] = raw
		default:
			inside[i] = v
		}
	}
	return inside
}

// A value of the driver's in the form that all drivers answer with. Types that it does not know come as
// bytes of text.
func outward(value interface{}, kind string) interface{} {
	switch v := value.(type) {
	case time.Time:
		return v.UTC().Format("2006-01-02T15:04:05.000Z")
	case []byte:
		if kind == "BYTEA" {
			return answer{"bytes": hex.EncodeToString(v)}
		}
		return string(v)
	}
	return value
}

func collect(rows *sql.Rows) answer {
	defer rows.Close()
	columns, err := rows.Columns()
	if err != nil {
		return about(err)
	}
	kinds, err := rows.ColumnTypes()
	must(err)
	collected := [][]interface{}{}
	for rows.Next() {
		row := make([]interface{}, len(columns))
		places := make([]interface{}, len(columns))
		for i := range row {
			places[i] = &row[i]
		}
		must(rows.Scan(places...))
		for i := range row {
			row[i] = outward(row[i], kinds[i].DatabaseTypeName())
		}
		collected = append(collected, row)
	}
	if err := rows.Err(); err != nil {
		return about(err)
	}
	return answer{"tag": nil, "columns": columns, "rows": collected}
}

func (s *session) execute(on runner, one step) answer {
	var rows *sql.Rows
	var err error
	if one.Prepare != "" {
		statement, known := s.prepared[one.SQL]
		if !known {
			if statement, err = s.conn.PrepareContext(context.Background(), one.SQL); err != nil {
				return about(err)
			}
			s.prepared[one.SQL] = statement
		}
		rows, err = statement.QueryContext(context.Background(), inward(one.Values)...)
	} else {
		rows, err = on.QueryContext(context.Background(), one.SQL, inward(one.Values)...)
	}
	if err != nil {
		return about(err)
	}
	return collect(rows)
}

func (s *session) connect(r request) answer {
	where := fmt.Sprintf("host=127.0.0.1 port=%d user=%s dbname='%s' sslmode=%s", r.Port, r.User, r.Database, r.SSLMode)
	base, err := pq.NewConnector(where)
	must(err)
	s.pool = sql.OpenDB(pq.ConnectorWithNoticeHandler(base, func(notice *pq.Error) {
		s.notices = append(s.notices, []string{notice.Severity, string(notice.Code), notice.Message})
	}))
	s.pool.SetMaxIdleConns(0) // what is given back is closed
	s.take()
	return answer{"version": "lib/pq"}
}

// take gets one connection out of the pool, to stay with it.
func (s *session) take() {
	var err error
	s.prepared = map[string]*sql.Stmt{}
	s.conn, err = s.pool.Conn(context.Background())
	must(err)
}

func (s *session) transaction(r request) answer {
	tx, err := s.conn.BeginTx(context.Background(), nil)
	must(err)
	answers := []answer{}
	for _, one := range r.Steps {
		answers = append(answers, s.execute(tx, one))
	}
	must(tx.Rollback())
	return answer{"answers": answers}
}

// One statement, prepared once and executed for each row inside one transaction.
func (s *session) batch(r request) answer {
	tx, err := s.conn.BeginTx(context.Background(), nil)
	must(err)
	statement, err := tx.Prepare(r.SQL)
	must(err)
	for _, row := range r.Rows {
		_, err := statement.Exec(inward(row)...)
		must(err)
	}
	must(tx.Commit())
	return answer{}
}

// COPY is a statement to prepare, and each row an execution of it; there is no way out.
func (s *session) copyIn(r request) answer {
	tx, err := s.conn.BeginTx(context.Background(), nil)
	must(err)
	statement, err := tx.Prepare(pq.CopyIn(r.Table, "n", "t"))
	must(err)
	for _, line := range r.Lines {
		parts := strings.SplitN(line, "\t", 2)
		number, err := strconv.Atoi(parts[0])
		must(err)
		_, err = statement.Exec(number, parts[1])
		must(err)
	}
	_, err = statement.Exec()
	must(err)
	must(statement.Close())
	must(tx.Commit())
	return answer{}
}

// The context's end cancels the statement. The driver does not trust the connection any more; the pool
// has to make another.
func (s *session) cancel(r request) answer {
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan answer)
	go func() {
		rows, err := s.conn.QueryContext(ctx, r.SQL)
		if err != nil {
			done <- about(err)
		} else {
			done <- collect(rows)
		}
	}()
	_, err := s.in.ReadString('\n')
	must(err)
	stop()
	told := <-done
	s.conn.Close()
	s.take()
	return told
}

func (s *session) perform(r request) answer {
	switch r.Op {
	case "connect":
		return s.connect(r)
	case "run":
		s.notices = [][]string{}
		told := s.execute(s.conn, r.step)
		told["notices"] = s.notices
		return told
	case "several":
		_, err := s.conn.ExecContext(context.Background(), r.SQL)
		must(err)
		return answer{}
	case "batch":
		return s.batch(r)
	case "transaction":
		return s.transaction(r)
	case "copy_in":
		return s.copyIn(r)
	case "cancel":
		return s.cancel(r)
	}
	panic("no operation " + r.Op)
}

func main() {
	s := &session{in: bufio.NewReader(os.Stdin)}
	out := json.NewEncoder(os.Stdout)
	for {
		line, err := s.in.ReadString('\n')
		if err != nil {
			break
		}
		var r request
		decoder := json.NewDecoder(strings.NewReader(line))
		decoder.UseNumber()
		must(decoder.Decode(&r))
		must(out.Encode(s.perform(r)))
	}
	if s.pool != nil {
		s.conn.Close()
		s.pool.Close()
	}
}
