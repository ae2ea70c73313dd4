//! What the database knows of a caller, asked before anybody is let in.
//!
//! There is no principal yet whose rows could be seen, so these are functions of the database for one purpose each,
//! which the role `sc_public` may call and nothing else.
use super::refusals::{Refused, Subject};
use crate::audit;
use crate::clock::Clock;
use crate::db::statement::kept;
use crate::db::{Conn, Db};
use crate::error::Result;
use crate::op::{Ids, OpContext, Scope};
use crate::settings::{self, RateLimits};
use async_trait::async_trait;
use chrono::{DateTime, Utc};
use diesel::QueryableByName;
use diesel::sql_types::{Array, Binary, Bool, Nullable, Text, Timestamptz, Uuid as SqlUuid};
use diesel_async::RunQueryDsl;
use uuid::Uuid;

/// A user, tenant and partner as the database knows them; what is not known is active and has no name.
#[derive(Clone, Debug, Default, PartialEq, Eq, QueryableByName)]
#[diesel(check_for_backend(diesel::pg::Pg))]
#[expect(missing_docs, reason = "columns of sc_load_principal")]
pub struct Known {
    #[diesel(sql_type = Bool)]
    pub user_known: bool,
    #[diesel(sql_type = Nullable<Text>)]
    pub user_tenant_id: Option<String>,
    #[diesel(sql_type = Bool)]
    pub user_is_active: bool,
    #[diesel(sql_type = Nullable<Timestamptz>)]
    pub claims_valid_from: Option<DateTime<Utc>>,
    #[diesel(sql_type = Nullable<Text>)]
    pub email: Option<String>,
    #[diesel(sql_type = Nullable<Text>)]
    pub display_name: Option<String>,
    #[diesel(sql_type = Nullable<Timestamptz>)]
    pub last_seen_at: Option<DateTime<Utc>>,
    #[diesel(sql_type = Array<Text>)]
    pub token_roles: Vec<String>,
    #[diesel(sql_type = Bool)]
    pub tenant_known: bool,
    #[diesel(sql_type = Nullable<Text>)]
    pub tenant_partner_id: Option<String>,
    #[diesel(sql_type = Bool)]
    pub tenant_is_active: bool,
    #[diesel(sql_type = Nullable<Text>)]
    pub tenant_name: Option<String>,
    #[diesel(sql_type = Bool)]
    pub partner_known: bool,
    #[diesel(sql_type = Bool)]
    pub partner_is_active: bool,
    #[diesel(sql_type = Nullable<Text>)]
    pub partner_name: Option<String>,
    #[diesel(sql_type = Nullable<Text>)]
    pub partner_home_tenant_id: Option<String>,
    #[diesel(sql_type = Array<Text>)]
    pub local_roles: Vec<String>,
    #[diesel(sql_type = Array<Text>)]
    pub group_roles: Vec<String>,
}

/// A registered service.
#[derive(Clone, Debug, PartialEq, Eq, QueryableByName)]
#[diesel(check_for_backend(diesel::pg::Pg))]
pub struct Service {
    /// Its id.
    #[diesel(sql_type = SqlUuid)]
    pub service_id: Uuid,
    /// Its slug.
    #[diesel(sql_type = Text)]
    pub slug: String,
    /// `pending`, `active`, `degraded`, `suspended` or `deregistered`.
    #[diesel(sql_type = Text)]
    pub status: String,
}

impl Service {
    /// Whether it may act: neither suspended nor deregistered.
    pub fn may_act(&self) -> bool {
        !matches!(self.status.as_str(), "suspended" | "deregistered")
    }
}

/// The stored side of a service key.
#[derive(Clone, Debug, PartialEq, Eq, QueryableByName)]
#[diesel(check_for_backend(diesel::pg::Pg))]
pub struct StoredKey {
    /// Whose key it is.
    #[diesel(embed)]
    pub service: Service,
    /// The account that registered the service.
    #[diesel(sql_type = Nullable<Text>)]
    pub client_id: Option<String>,
    /// Hash of the secret.
    #[diesel(sql_type = Binary)]
    pub secret_sha256: Vec<u8>,
    /// Set when a newer key replaced it.
    #[diesel(sql_type = Nullable<Timestamptz>)]
    pub expires_at: Option<DateTime<Utc>>,
}

/// What a valid token names and the database does not know yet.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "columns of the mirrored rows")]
pub struct Unknown {
    pub partner_id: String,
    pub tenant_id: String,
    pub tenant_name: Option<String>,
    pub user_id: String,
    pub email: Option<String>,
    pub display_name: Option<String>,
}

/// What authentication asks of the database.
#[async_trait]
pub trait Directory: Send + Sync + std::fmt::Debug {
    /// A user, its tenant and its partner.
    async fn principal(
        &self,
        user_id: &str,
        tenant_id: Option<&str>,
        partner_id: Option<&str>,
    ) -> Result<Known>;
    /// The service that a service account registered.
    async fn service(&self, client_id: &str) -> Result<Option<Service>>;
    /// A service key by its id.
    async fn service_key(&self, key_id: &str) -> Result<Option<StoredKey>>;
    /// Creates what is not there; changes nothing that is.
    async fn mirror(&self, unknown: &Unknown) -> Result<()>;
    /// Writes down that a user called, with a token of these roles.
    async fn seen(&self, user_id: &str, token_roles: &[&str]) -> Result<()>;
    /// How often each may call.
    async fn rate_limits(&self) -> Result<RateLimits>;
    /// Writes down that the issuer must be asked where somebody belongs: a token named that tenant and partner.
    async fn ask_for_sync(&self, subject: Subject, id: &str, tenant_id: &str, partner_id: &str)
    -> Result<()>;
    /// Writes into the audit log what a caller was refused.
    async fn refused(&self, refused: &Refused) -> Result<()>;
    /// Business time, which the grace of a replaced key is counted in.
    fn now(&self) -> DateTime<Utc>;
}

/// The directory in the database.
#[derive(Clone, Debug)]
pub struct Store {
    db: Db,
    clock: Clock,
    ids: Ids,
}

impl Store {
    /// Asks that database.
    pub fn new(db: Db, clock: Clock, ids: Ids) -> Self {
        Store { db, clock, ids }
    }
    fn op(&self) -> OpContext {
        OpContext::system(&self.clock, &self.ids, "identity").with_scope(Scope::Public)
    }
}

#[async_trait]
impl Directory for Store {
    async fn principal(
        &self,
        user_id: &str,
        tenant_id: Option<&str>,
        partner_id: Option<&str>,
    ) -> Result<Known> {
        self.db
            .read(&self.op(), async |conn: &mut Conn| {
                let query = diesel::sql_query(
                    "SELECT user_known, user_tenant_id, user_is_active, claims_valid_from, email, display_name, last_seen_at,
                       token_roles, tenant_known, tenant_partner_id, tenant_is_active, tenant_name, partner_known,
                       partner_is_active, partner_name, partner_home_tenant_id, local_roles, group_roles
                     FROM sc_load_principal($1, $2, $3)",
                );
                let query = query.bind::<Text, _>(user_id).bind::<Nullable<Text>, _>(tenant_id);
                Ok(kept(query.bind::<Nullable<Text>, _>(partner_id)).get_result(conn).await?)
            })
            .await
    }

    async fn service(&self, client_id: &str) -> Result<Option<Service>> {
        self.db
            .read(&self.op(), async |conn: &mut Conn| {
                let query = diesel::sql_query("SELECT service_id, slug, status FROM sc_load_service($1)")
                    .bind::<Text, _>(client_id);
                Ok(kept(query).get_results(conn).await?.pop())
            })
            .await
    }

    async fn service_key(&self, key_id: &str) -> Result<Option<StoredKey>> {
        self.db
            .read(&self.op(), async |conn: &mut Conn| {
                let query = diesel::sql_query(
                    "SELECT service_id, slug, status, client_id, secret_sha256, expires_at FROM sc_load_service_key($1)",
                )
                .bind::<Text, _>(key_id);
                Ok(kept(query).get_results(conn).await?.pop())
            })
            .await
    }

    async fn mirror(&self, unknown: &Unknown) -> Result<()> {
        let op = self.op();
        self.db
            .tx(&op, "identity_mirror", async |conn: &mut Conn| {
                diesel::sql_query("SELECT sc_mirror_principal($1, $2, $3, $4, $5, $6, $7)")
                    .bind::<Text, _>(&unknown.partner_id)
                    .bind::<Text, _>(&unknown.tenant_id)
                    .bind::<Nullable<Text>, _>(&unknown.tenant_name)
                    .bind::<Text, _>(&unknown.user_id)
                    .bind::<Nullable<Text>, _>(&unknown.email)
                    .bind::<Nullable<Text>, _>(&unknown.display_name)
                    .bind::<Timestamptz, _>(op.now)
                    .execute(conn)
                    .await?;
                Ok(())
            })
            .await
    }

    async fn seen(&self, user_id: &str, token_roles: &[&str]) -> Result<()> {
        let op = self.op();
        self.db
            .tx(&op, "identity_seen", async |conn: &mut Conn| {
                let seen = diesel::sql_query("SELECT sc_user_seen($1, $2, $3)")
                    .bind::<Text, _>(user_id)
                    .bind::<Array<Text>, _>(token_roles)
                    .bind::<Timestamptz, _>(op.now);
                kept(seen).execute(conn).await?;
                Ok(())
            })
            .await
    }

    async fn rate_limits(&self) -> Result<RateLimits> {
        let op = self.op().with_scope(Scope::Platform);
        Ok(self.db.read(&op, async |conn: &mut Conn| settings::load(conn).await).await?.rate_limits)
    }

    async fn ask_for_sync(
        &self,
        subject: Subject,
        id: &str,
        tenant_id: &str,
        partner_id: &str,
    ) -> Result<()> {
        let op = self.op();
        self.db
            .tx(&op, "identity_ask_for_sync", async |conn: &mut Conn| {
                diesel::sql_query("SELECT sc_ask_for_sync($1, $2, $3, $4, $5)")
                    .bind::<Text, _>(subject.as_str())
                    .bind::<Text, _>(id)
                    .bind::<Text, _>(tenant_id)
                    .bind::<Text, _>(partner_id)
                    .bind::<Timestamptz, _>(op.now)
                    .execute(conn)
                    .await?;
                Ok(())
            })
            .await
    }

    async fn refused(&self, refused: &Refused) -> Result<()> {
        let mut op = self.op();
        op.operation = refused.operation;
        op.request_id.clone_from(&refused.request_id);
        op.actor.id.clone_from(&refused.actor);
        (op.actor.level, op.actor.service_id) = (refused.level, refused.service_id);
        self.db
            .tx(&op, "identity_refused", async |conn: &mut Conn| {
                let entry = audit::Entry {
                    object_type: "refusal",
                    object_id: refused.operation.to_owned(),
                    tenant_id: refused.tenant_id.as_deref(),
                    partner_id: refused.partner_id.as_deref(),
                    reason: Some(&refused.reason),
                };
                audit::record(conn, &op, entry, None::<&()>, None::<&()>).await
            })
            .await
    }

    fn now(&self) -> DateTime<Utc> {
        self.clock.now()
    }
}

/// Where a user belongs.
#[derive(Clone, Debug, PartialEq, Eq, QueryableByName)]
#[diesel(check_for_backend(diesel::pg::Pg))]
pub struct Home {
    /// Its tenant.
    #[diesel(sql_type = Text)]
    pub tenant_id: String,
    /// Its partner.
    #[diesel(sql_type = Text)]
    pub partner_id: String,
}

/// The tenant and partner of a user, locked until the transaction ends.
pub async fn home(conn: &mut Conn, user_id: &str) -> Result<Option<Home>> {
    let query = diesel::sql_query("SELECT tenant_id, partner_id FROM users WHERE user_id = $1 FOR UPDATE");
    Ok(query.bind::<Text, _>(user_id).get_results(conn).await?.pop())
}

/// Gives a user a role; `false` when it has it already.
pub async fn grant(
    conn: &mut Conn,
    user_id: &str,
    home: &Home,
    role: &str,
    granted_by: &str,
    now: DateTime<Utc>,
) -> Result<bool> {
    let query = diesel::sql_query(
        "INSERT INTO user_roles (user_id, tenant_id, partner_id, role, granted_by, granted_at) VALUES ($1, $2, $3, $4, $5, $6)
         ON CONFLICT (user_id, role) DO NOTHING",
    );
    let added = query
        .bind::<Text, _>(user_id)
        .bind::<Text, _>(&home.tenant_id)
        .bind::<Text, _>(&home.partner_id)
        .bind::<Text, _>(role)
        .bind::<Text, _>(granted_by)
        .bind::<Timestamptz, _>(now)
        .execute(conn)
        .await?;
    Ok(added == 1)
}
