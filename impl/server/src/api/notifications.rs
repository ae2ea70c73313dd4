//! Handlers of the group `notifications`.
use super::prelude::*;
use crate::notifications::{self, Filter};
use scaicontrol_api::notifications::*;

impl NotificationsApi for Handlers {
    type Context = App;

    async fn notification_list(
        rqctx: Cx,
        auth: Auth<perm::NotificationList>,
        query: QueryParams<NotificationListQuery>,
    ) -> Result<R200<NotificationPage>, ApiError> {
        let (op, app) = rqctx.enter(&auth);
        let q = query.0;
        let filter = Filter { unread_only: q.unread_only, category: q.category };
        let whole = (op.operation, op.tenant_id(), &op.actor.id, q.unread_only, q.category);
        let page = PageRequest::new(q.page, q.page_size, q.cursor.as_deref(), &whole)?;
        let (data, pagination) = notifications::list(&op, app, &page, filter).await?;
        Ok(R200(NotificationPage { data, pagination, meta: op.meta() }))
    }

    async fn notification_read(
        rqctx: Cx,
        auth: Auth<perm::NotificationRead>,
        path: PathParams<NotificationReadPath>,
    ) -> Result<R200<NotificationEnvelope>, ApiError> {
        let (op, app) = rqctx.enter(&auth);
        let data = notifications::read(&op, app, path.0.notification_id).await?;
        Ok(R200(NotificationEnvelope { data, meta: op.meta() }))
    }

    async fn notification_read_all(
        rqctx: Cx,
        auth: Auth<perm::NotificationReadAll>,
    ) -> Result<R200<NotificationReadAllEnvelope>, ApiError> {
        let (op, app) = rqctx.enter(&auth);
        let data = notifications::read_all(&op, app).await?;
        Ok(R200(NotificationReadAllEnvelope { data, meta: op.meta() }))
    }
}
