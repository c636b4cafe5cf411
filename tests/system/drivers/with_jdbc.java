// PostgreSQL's JDBC driver on a leash: one JSON request a line comes in, one answer a
// line goes out.

import com.google.gson.Gson;
import com.google.gson.GsonBuilder;
import com.google.gson.JsonArray;
import com.google.gson.JsonElement;
import com.google.gson.JsonNull;
import com.google.gson.JsonObject;
import com.google.gson.JsonPrimitive;
import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.io.StringReader;
import java.io.StringWriter;
import java.math.BigDecimal;
import java.nio.charset.StandardCharsets;
import java.sql.Connection;
import java.sql.DriverManager;
import java.sql.PreparedStatement;
import java.sql.ResultSet;
import java.sql.ResultSetMetaData;
import java.sql.SQLException;
import java.sql.SQLWarning;
import java.sql.Statement;
import java.sql.Timestamp;
import java.sql.Types;
import java.time.ZoneOffset;
import java.time.format.DateTimeFormatter;
import java.util.HexFormat;
import java.util.Properties;
import java.util.concurrent.CompletableFuture;
import org.postgresql.PGConnection;
import org.postgresql.copy.CopyManager;
import org.postgresql.util.PSQLException;
import org.postgresql.util.PSQLWarning;
import org.postgresql.util.ServerErrorMessage;

final class WithJdbc {
    private static final DateTimeFormatter INSTANT = DateTimeFormatter.ofPattern("yyyy-MM-dd'T'HH:mm:ss.SSS'Z'");

    private final BufferedReader requests = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
    private Connection connection;

    public static void main(String[] arguments) throws Exception {
        WithJdbc session = new WithJdbc();
        PrintStream answers = new PrintStream(System.out, true, StandardCharsets.UTF_8);
        Gson gson = new GsonBuilder().serializeNulls().create();
        String line;
        while ((line = session.requests.readLine()) != null) {
            JsonObject answer = session.perform(gson.fromJson(line, JsonObject.class));
            answers.println(gson.toJson(answer));
        }
        if (session.connection != null) {
            session.connection.close();
        }
    }

    private JsonObject perform(JsonObject request) throws Exception {
        switch (request.get("op").getAsString()) {
            case "connect": return connect(request);
            case "run": return run(request);
            case "several": return several(request);
            case "batch": return batch(request);
            case "transaction": return transaction(request);
            case "copy_in": return copyIn(request);
            case "copy_out": return copyOut(request);
            case "cancel": return cancel(request);
            default: throw new IllegalArgumentException(request.toString());
        }
    }

    private JsonObject connect(JsonObject request) throws SQLException {
        Properties properties = new Properties();
        properties.setProperty("user", request.get("user").getAsString());
        properties.setProperty("sslmode", request.get("sslmode").getAsString());
        connection = DriverManager.getConnection("jdbc:postgresql://127.0.0.1:" + request.get("port").getAsInt() + "/"
                + request.get("database").getAsString(), properties);
        JsonObject answer = new JsonObject();
        answer.addProperty("version", connection.getMetaData().getDriverVersion());
        return answer;
    }

    // With values as a prepared statement, which the driver keeps by its text; without, as a plain one.
    private JsonObject run(JsonObject step) {
        String sql = step.get("sql").getAsString();
        try {
            if (!step.has("values") || step.get("values").isJsonNull()) {
                try (Statement statement = connection.createStatement()) {
                    statement.execute(sql);
                    return result(statement);
                }
            }
            try (PreparedStatement statement = connection.prepareStatement(inItsWords(sql))) {
                bind(statement, step.getAsJsonArray("values"));
                statement.execute();
                return result(statement);
            }
        } catch (SQLException fault) {
            return about(fault);
        }
    }

    private static String inItsWords(String sql) {
        return sql.replaceAll("\\$\\d+", "?");
    }

    private static void bind(PreparedStatement statement, JsonArray values) throws SQLException {
        for (int i = 0; i < values.size(); i++) {
            JsonElement value = values.get(i);
            if (value.isJsonNull()) {
                statement.setNull(i + 1, Types.VARCHAR);
            } else if (value.isJsonObject()) {
                statement.setBytes(i + 1, HexFormat.of().parseHex(value.getAsJsonObject().get("bytes").getAsString()));
            } else {
                statement.setObject(i + 1, inward(value.getAsJsonPrimitive()));
            }
        }
    }

    private static Object inward(JsonPrimitive value) {
        if (value.isBoolean()) {
            return value.getAsBoolean();
        }
        if (!value.isNumber()) {
            return value.getAsString();
        }
        BigDecimal number = value.getAsBigDecimal();
        if (value.getAsString().contains(".")) {
            return number.doubleValue();
        }
        return number.toBigIntegerExact().bitLength() < 32 ? (Object) number.intValueExact() : (Object) number.longValueExact();
    }

    private static JsonObject result(Statement statement) throws SQLException {
        JsonArray columns = new JsonArray();
        JsonArray rows = new JsonArray();
        try (ResultSet set = statement.getResultSet()) {
            if (set != null) {
                ResultSetMetaData shape = set.getMetaData();
                for (int i = 1; i <= shape.getColumnCount(); i++) {
                    columns.add(shape.getColumnLabel(i));
                }
                while (set.next()) {
                    JsonArray row = new JsonArray();
                    for (int i = 1; i <= shape.getColumnCount(); i++) {
                        row.add(outward(set.getObject(i)));
                    }
                    rows.add(row);
                }
            }
        }
        JsonObject answer = new JsonObject();
        answer.add("columns", columns);
        answer.add("rows", rows);
        answer.add("notices", notices(statement));
        return answer;
    }

    private static JsonElement outward(Object value) {
        if (value == null) {
            return JsonNull.INSTANCE;
        }
        if (value instanceof Boolean) {
            return new JsonPrimitive((Boolean) value);
        }
        if (value instanceof byte[]) {
            JsonObject bytes = new JsonObject();
            bytes.addProperty("bytes", HexFormat.of().formatHex((byte[]) value));
            return bytes;
        }
        if (value instanceof Timestamp) {
            return new JsonPrimitive(INSTANT.format(((Timestamp) value).toInstant().atOffset(ZoneOffset.UTC)));
        }
        boolean exact = value instanceof Integer || value instanceof Long || value instanceof Double;
        return exact ? new JsonPrimitive((Number) value) : new JsonPrimitive(value.toString());
    }

    private static JsonArray notices(Statement statement) throws SQLException {
        JsonArray notices = new JsonArray();
        for (SQLWarning warning = statement.getWarnings(); warning != null; warning = warning.getNextWarning()) {
            JsonArray notice = new JsonArray();
            notice.add(((PSQLWarning) warning).getServerErrorMessage().getSeverity());
            notice.add(warning.getSQLState());
            notice.add(warning.getMessage());
            notices.add(notice);
        }
        return notices;
    }

    private static JsonObject about(SQLException fault) {
        ServerErrorMessage told = fault instanceof PSQLException ? ((PSQLException) fault).getServerErrorMessage() : null;
        JsonObject error = new JsonObject();
        error.addProperty("class", fault.getClass().getSimpleName());
        error.addProperty("sqlstate", fault.getSQLState());
        error.addProperty("message", fault.getMessage());
        error.addProperty("hint", told == null ? null : told.getHint());
        JsonObject answer = new JsonObject();
        answer.add("error", error);
        return answer;
    }

    private JsonObject several(JsonObject request) throws SQLException {
        try (Statement statement = connection.createStatement()) {
            statement.execute(request.get("sql").getAsString());
        }
        return new JsonObject();
    }

    private JsonObject batch(JsonObject request) throws SQLException {
        try (PreparedStatement statement = connection.prepareStatement(inItsWords(request.get("sql").getAsString()))) {
            for (JsonElement row : request.getAsJsonArray("rows")) {
                bind(statement, row.getAsJsonArray());
                statement.addBatch();
            }
            statement.executeBatch();
        }
        return new JsonObject();
    }

    private JsonObject transaction(JsonObject request) throws SQLException {
        JsonArray answers = new JsonArray();
        connection.setAutoCommit(false);
        for (JsonElement step : request.getAsJsonArray("steps")) {
            answers.add(run(step.getAsJsonObject()));
        }
        connection.rollback();
        connection.setAutoCommit(true);
        JsonObject answer = new JsonObject();
        answer.add("answers", answers);
        return answer;
    }

    private CopyManager copier() throws SQLException {
        return connection.unwrap(PGConnection.class).getCopyAPI();
    }

    private JsonObject copyIn(JsonObject request) throws SQLException, IOException {
        StringBuilder lines = new StringBuilder();
        for (JsonElement line : request.getAsJsonArray("lines")) {
            lines.append(line.getAsString()).append('\n');
        }
        copier().copyIn("copy " + request.get("table").getAsString() + " from stdin", new StringReader(lines.toString()));
        return new JsonObject();
    }

    private JsonObject copyOut(JsonObject request) throws SQLException, IOException {
        StringWriter out = new StringWriter();
        copier().copyOut("copy (" + request.get("sql").getAsString() + ") to stdout", out);
        JsonArray lines = new JsonArray();
        out.toString().lines().forEach(lines::add);
        JsonObject answer = new JsonObject();
        answer.add("lines", lines);
        return answer;
    }

    private JsonObject cancel(JsonObject request) throws Exception {
        try (Statement statement = connection.createStatement()) {
            CompletableFuture<JsonObject> answer = CompletableFuture.supplyAsync(() -> {
                try {
                    statement.execute(request.get("sql").getAsString());
                    return new JsonObject();
                } catch (SQLException fault) {
                    return about(fault);
                }
            });
            requests.readLine();
            statement.cancel();
            return answer.get();
        }
    }
}
