//! The stripe of totals that this server writes, so that servers do not wait for each other's rows.
//!
//! The number is held by an advisory lock on a connection of its own. When the connection is lost another server may take
//! the number too: totals stay right, the two only wait for each other, until this one takes a new number.
use crate::db::{Conn, Db};
use crate::error::Result;
use deadpool::managed::Object;
use diesel::sql_types::Integer;
use diesel_async::RunQueryDsl;

/// What the lock is for, among the advisory locks with two keys.
const LOCK_CLASS: i32 = 0x5ca1;
/// How many stripes there are; servers above that share.
const STRIPES: i16 = 256;

diesel::define_sql_function! {
    /// Takes an advisory lock for the session, or answers false.
    fn pg_try_advisory_lock(class: Integer, key: Integer) -> diesel::sql_types::Bool;
}

/// See the module. Empty until it is asked for.
#[derive(Default)]
pub(super) struct Stripe {
    held: Option<(i16, Conn)>,
}

impl Stripe {
    /// The number; takes one when none is held.
    pub async fn number(&mut self, db: &Db) -> Result<i16> {
        if let Some((number, _)) = &self.held {
            return Ok(*number);
        }
        let mut conn = Object::take(db.bare().await?);
        let mut number = 0;
        while number < STRIPES {
            let taken: bool = diesel::select(pg_try_advisory_lock(LOCK_CLASS, i32::from(number)))
                .get_result(&mut conn)
                .await?;
            if taken {
                break;
            }
            number += 1;
        }
        if number == STRIPES {
            number = rand::random_range(0..STRIPES);
        }
        self.held = Some((number, conn));
        Ok(number)
    }
}
