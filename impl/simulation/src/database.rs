//! A connection to the server's database, as one who sees every row.
use crate::Outcome;
use std::collections::HashMap;
use tokio::sync::Mutex;
use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, NoTls, Row, Statement};

/// A connection, and what was asked on it, prepared: the same is asked thousands of times.
#[derive(Debug)]
pub struct Connected {
    client: Client,
    prepared: Mutex<HashMap<String, Statement>>,
}

impl Connected {
    /// Connects.
    pub async fn new(url: &str) -> Outcome<Connected> {
        let (client, connection) = tokio_postgres::connect(url, NoTls).await.map_err(words)?;
        tokio::spawn(connection);
        Ok(Connected { client, prepared: Mutex::default() })
    }

    /// Whether it is gone.
    pub fn is_closed(&self) -> bool {
        self.client.is_closed()
    }

    /// Statements that answer nothing.
    pub async fn execute(&self, sql: &str) -> Outcome {
        self.client.batch_execute(sql).await.map_err(words)
    }

    /// The rows of a query.
    pub async fn query(&self, sql: &str, values: &[&(dyn ToSql + Sync)]) -> Outcome<Vec<Row>> {
        let known = self.prepared.lock().await.get(sql).cloned();
        let statement = match known {
            Some(statement) => statement,
            None => {
                let new = self.client.prepare(sql).await.map_err(words)?;
                self.prepared.lock().await.insert(sql.to_owned(), new.clone());
                new
            }
        };
        self.client.query(&statement, values).await.map_err(words)
    }
}

fn words(e: tokio_postgres::Error) -> String {
    match e.as_db_error() {
        Some(db) => format!("database: {}", db.message()),
        None => format!("database: {e}"),
    }
}
