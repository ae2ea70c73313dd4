//! `scaicontrol admin`: what is done on the database itself, by whoever holds the owner's address.
use super::migrate::owner_url;
use super::{Context, Outcome, say};
use crate::audit;
use crate::clock::Clock;
use crate::config::Config;
use crate::db::{Conn, Db};
use crate::error::Error;
use crate::identity::{roles, store};
use crate::op::{Ids, OpContext};
use crate::templates;
use clap::Subcommand;
use scaicontrol_templates::{Problem, Template, check, defaults};
use serde_json::{Value, json};
use std::process::ExitCode;
use std::time::Duration;

/// See the module.
#[derive(Debug, Subcommand)]
pub(crate) enum Admin {
    /// Give a user a role: how the first super_admin comes to be.
    GrantRole {
        /// Id of the user, who must have signed in once or been synchronised.
        #[arg(long)]
        user: String,
        /// Name of the role.
        #[arg(long)]
        role: String,
    },
    /// Templates of documents and mails.
    #[command(subcommand)]
    Templates(Templates),
}

/// See the module.
#[derive(Debug, Subcommand)]
pub(crate) enum Templates {
    /// Check every stored template, and those that come with the program; 1 when one of them is wrong.
    Validate,
}

impl Admin {
    pub(crate) async fn run(self, context: &Context) -> Outcome {
        let config = context.load(vec![], vec![]).map_err(|e| e.to_string())?;
        match self {
            Admin::GrantRole { user, role } => grant(&config, &user, &role).await,
            Admin::Templates(Templates::Validate) => validate_templates(&config).await,
        }
    }
}

async fn validate_templates(config: &Config) -> Outcome {
    let db = Db::new(&owner_url(config)?, 1, Duration::from_secs(10), Duration::from_secs(60))
        .map_err(|e| e.to_string())?;
    let op = OpContext::system(&Clock::Real, &Ids::default(), "admin_templates_validate");
    let stored =
        db.read(&op, async |conn| templates::store::all(conn).await).await.map_err(|e| e.to_string())?;
    let (mut wrong, mut count) = (0, 0);
    let mut told = |name: String, problems: Vec<Problem>| {
        count += 1;
        wrong += usize::from(!problems.is_empty());
        for p in problems {
            say(format_args!(
                "{name}: {} line {}, column {}: {}",
                p.part.field(),
                p.line,
                p.column,
                p.message
            ));
        }
    };
    for default in defaults::all() {
        told(format!("built-in {}", default.kind), check(&default.template()));
    }
    for (row, version) in stored {
        let kind = row.document_type.parse().map_err(|_| format!("{}: unknown kind", row.template_id))?;
        let template = Template {
            kind,
            subject: version.subject.as_deref(),
            html: &version.html_content,
            css: version.css_content.as_deref(),
        };
        told(format!("{} {} {}", row.template_id, row.document_type, row.name), check(&template));
    }
    say(format_args!("{count} templates, {wrong} wrong"));
    Ok(if wrong == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

async fn grant(config: &Config, user_id: &str, role: &str) -> Outcome {
    let known = roles::role(role).filter(|r| r.name != roles::SERVICE_ACCOUNT);
    let Some(known) = known else {
        let names: Vec<_> =
            roles::ROLES.iter().map(|r| r.name).filter(|n| *n != roles::SERVICE_ACCOUNT).collect();
        return Err(format!("there is no role `{role}` for users; there are {}", names.join(", ")));
    };
    let operator = config.platform.operator_partner_id.as_deref();
    if known.platform && operator.is_none() {
        return Err(
            "platform.operator_partner_id must be set: platform roles count for the operator's people only"
                .into(),
        );
    }
    let db = Db::new(&owner_url(config)?, 1, Duration::from_secs(10), Duration::from_secs(60))
        .map_err(|e| e.to_string())?;
    let mut op = OpContext::system(&Clock::Real, &Ids::default(), "admin_grant_role");
    op.actor.id = "cli:admin grant-role".into();
    let granted = db
        .tx(&op, "admin_grant_role", async |conn: &mut Conn| {
            let home = store::home(conn, user_id).await?.ok_or(Error::NotFound("user"))?;
            if known.platform && Some(home.partner_id.as_str()) != operator {
                return Err(Error::conflict(format!(
                    "{user_id} belongs to {}, which is not the operator",
                    home.partner_id
                )));
            }
            if !store::grant(conn, user_id, &home, known.name, &op.actor.id, op.now).await? {
                return Ok(false);
            }
            let entry = audit::Entry {
                object_type: "user",
                object_id: user_id.to_owned(),
                tenant_id: Some(&home.tenant_id),
                partner_id: Some(&home.partner_id),
                reason: None,
            };
            let after = json!({"granted_role": known.name});
            audit::record(conn, &op, entry, None::<&Value>, Some(&after)).await?;
            Ok(true)
        })
        .await
        .map_err(|e| e.to_string())?;
    let said = if granted { "granted" } else { "already granted" };
    say(format_args!("{said}: {} to {user_id}", known.name));
    Ok(ExitCode::SUCCESS)
}
