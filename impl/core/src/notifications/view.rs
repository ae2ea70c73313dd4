//! Notifications as their readers see them.
use super::store::NotificationRow;
use super::words::{Reader, say};
use crate::error::Result;
use crate::subscriptions::view::parse;
use scaicontrol_types::{NotificationResponse, NotificationSeverity};

/// One notification, in the reader's words.
pub fn notification(row: NotificationRow, reader: Reader) -> Result<NotificationResponse> {
    let said = say(&row.message, &row.parameters, reader);
    let severity = match row.severity.as_str() {
        "critical" => NotificationSeverity::Error,
        other => parse(other)?,
    };
    Ok(NotificationResponse {
        id: row.notification_id,
        category: parse(&row.category)?,
        severity,
        title: said.title,
        body: said.body,
        link: row.link,
        is_read: row.read_at.is_some(),
        read_at: row.read_at,
        created_at: row.created_at,
    })
}
