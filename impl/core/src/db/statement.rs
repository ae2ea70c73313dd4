//! SQL text for hot paths: prepared once for each connection and then used again.
//!
//! `diesel::sql_query` is parsed and planned at every call. A [`Statement`] is known by its text, which is written in the
//! source and never put together, so the connection keeps it prepared. It names its columns: a `SELECT *` would be refused
//! once a migration adds one. Its rows are tuples or `Queryable` structs, read by position; the type parameter says what the
//! columns are. [`kept`] does the same for what Diesel writes.
use diesel::QueryResult;
use diesel::pg::Pg;
use diesel::query_builder::{AstPass, Query, QueryFragment, QueryId};
use diesel::serialize::ToSql;
use diesel::sql_types::HasSqlType;
use std::marker::PhantomData;

/// A statement with the values it was given so far. Every `$n` of the text stands in it once, in order.
#[derive(Debug)]
pub struct Statement<Columns, Values = ()> {
    sql: &'static str,
    values: Values,
    columns: PhantomData<Columns>,
}

/// A statement that returns `Columns` (`()` for none), e.g. `statement::<(Text, BigInt)>("SELECT … WHERE id = $1")`.
pub fn statement<Columns>(sql: &'static str) -> Statement<Columns> {
    Statement { sql, values: (), columns: PhantomData }
}

impl<Columns, Values> Statement<Columns, Values> {
    /// Gives the next `$n` its value.
    pub fn bind<Type, Value>(self, value: Value) -> Statement<Columns, Bound<Values, Type, Value>> {
        let values = Bound { before: self.values, value, kind: PhantomData };
        Statement { sql: self.sql, values, columns: PhantomData }
    }
}

/// One value after those before it.
#[derive(Debug)]
pub struct Bound<Before, Type, Value> {
    before: Before,
    value: Value,
    kind: PhantomData<Type>,
}

/// Writes text up to a placeholder, then the placeholder, value by value; answers the rest of the text.
pub trait Walk {
    /// See the trait.
    fn walk<'b>(&'b self, sql: &'static str, out: &mut AstPass<'_, 'b, Pg>) -> QueryResult<&'static str>;
}

impl Walk for () {
    fn walk<'b>(&'b self, sql: &'static str, _: &mut AstPass<'_, 'b, Pg>) -> QueryResult<&'static str> {
        Ok(sql)
    }
}

impl<Before: Walk, Type, Value> Walk for Bound<Before, Type, Value>
where
    Pg: HasSqlType<Type>,
    Value: ToSql<Type, Pg>,
{
    fn walk<'b>(&'b self, sql: &'static str, out: &mut AstPass<'_, 'b, Pg>) -> QueryResult<&'static str> {
        let rest = self.before.walk(sql, out)?;
        let (text, rest) = rest.split_once('$').unwrap_or((rest, ""));
        out.push_sql(text);
        out.push_bind_param::<Type, Value>(&self.value)?;
        Ok(rest.trim_start_matches(|c: char| c.is_ascii_digit()))
    }
}

impl<Columns, Values: Walk> QueryFragment<Pg> for Statement<Columns, Values> {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        let rest = self.values.walk(self.sql, &mut out)?;
        out.push_sql(rest);
        Ok(())
    }
}

impl<Columns, Values> QueryId for Statement<Columns, Values> {
    type QueryId = ();

    // Two statements may be of one type: the text is what tells them apart.
    const HAS_STATIC_QUERY_ID: bool = false;
}

impl<Columns, Values> Query for Statement<Columns, Values> {
    type SqlType = Columns;
}

/// The most rows of one `INSERT` that [`kept_rows`] keeps prepared: each number of rows is a text of its own.
const KEPT_ROWS: usize = 16;

/// A statement of Diesel that the connection keeps prepared. Diesel prepares each `UPDATE` anew, because what it sets may
/// differ from call to call; those of ours that run often set the same columns each time.
#[derive(Debug)]
pub struct Kept<Q> {
    query: Q,
    is_kept: bool,
}

/// `query`, prepared once for each connection. For statements with one text, or few.
pub fn kept<Q>(query: Q) -> Kept<Q> {
    Kept { query, is_kept: true }
}

/// An `INSERT` of so many rows, prepared once for each connection when they are few.
pub fn kept_rows<Q>(rows: usize, query: Q) -> Kept<Q> {
    Kept { query, is_kept: rows <= KEPT_ROWS }
}

impl<Q: QueryFragment<Pg>> QueryFragment<Pg> for Kept<Q> {
    fn walk_ast<'b>(&'b self, out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        self.query.walk_ast(out)
    }

    fn is_safe_to_cache_prepared(&self, backend: &Pg) -> QueryResult<bool> {
        Ok(self.is_kept || self.query.is_safe_to_cache_prepared(backend)?)
    }
}

impl<Q> QueryId for Kept<Q> {
    type QueryId = ();

    // Known by its text.
    const HAS_STATIC_QUERY_ID: bool = false;
}

impl<Q: Query> Query for Kept<Q> {
    type SqlType = Q::SqlType;
}

#[cfg(test)]
mod tests {
    use super::statement;
    use diesel::pg::Pg;
    use diesel::sql_types::{Array, BigInt, Text};

    #[test]
    fn the_text_keeps_its_placeholders() {
        let with = statement::<BigInt>("SELECT a FROM t WHERE b = ANY($1::text[]) AND c = $2 LIMIT 1")
            .bind::<Array<Text>, _>(vec!["x", "y"])
            .bind::<BigInt, _>(3);
        let shown = diesel::debug_query::<Pg, _>(&with).to_string();
        assert_eq!(
            shown,
            "SELECT a FROM t WHERE b = ANY($1::text[]) AND c = $2 LIMIT 1 -- binds: [[\"x\", \"y\"], 3]"
        );
        let without = statement::<()>("SELECT 1");
        assert_eq!(diesel::debug_query::<Pg, _>(&without).to_string(), "SELECT 1 -- binds: []");
    }
}
