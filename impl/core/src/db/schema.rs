//! The tables as the migrations leave them. A test compares this with a migrated database.
#![allow(missing_docs)]

diesel::table! {
    audit_log (id) {
        id -> Uuid,
        at -> Timestamptz,
        actor -> Text,
        level -> Text,
        tenant_id -> Nullable<Text>,
        partner_id -> Nullable<Text>,
        service_id -> Nullable<Uuid>,
        operation -> Text,
        object_type -> Text,
        object_id -> Text,
        before -> Nullable<Jsonb>,
        after -> Nullable<Jsonb>,
        reason -> Nullable<Text>,
        request_id -> Text,
    }
}

diesel::table! {
    billed_items (tenant_id, billed_item_id) {
        tenant_id -> Text,
        billed_item_id -> Uuid,
        partner_id -> Text,
        source_type -> Text,
        source_id -> Uuid,
        period_start -> Timestamptz,
        kind -> Text,
        revision -> Integer,
        subscription_id -> Nullable<Uuid>,
        currency -> Text,
        due_at -> Timestamptz,
        run_date -> Date,
        own_invoice -> Bool,
        status -> Text,
        invoice_id -> Nullable<Uuid>,
        waived -> Bool,
        created_at -> Timestamptz,
        floats -> Bool,
        settled_usage -> Nullable<Jsonb>,
    }
}

diesel::table! {
    billing_profiles (tenant_id) {
        tenant_id -> Text,
        partner_id -> Text,
        company_name -> Text,
        address_line1 -> Text,
        address_line2 -> Nullable<Text>,
        postal_code -> Text,
        city -> Text,
        state -> Nullable<Text>,
        country_code -> Text,
        vat_number -> Nullable<Text>,
        tax_exempt -> Bool,
        tax_exempt_reason -> Nullable<Text>,
        contact_email -> Nullable<Text>,
        phone -> Nullable<Text>,
        is_business -> Bool,
        peppol_id -> Nullable<Text>,
        peppol_scheme -> Nullable<Text>,
        leitweg_id -> Nullable<Text>,
        preferred_einvoice_format -> Nullable<Text>,
        preferred_language -> Nullable<Text>,
        invoice_template_name -> Nullable<Text>,
        email_template_name -> Nullable<Text>,
        buyer_reference -> Nullable<Text>,
        vat_number_status -> Text,
        vat_number_checked_at -> Nullable<Timestamptz>,
        vat_check_attempts -> Integer,
        vat_check_at -> Nullable<Timestamptz>,
        created_at -> Timestamptz,
        updated_at -> Timestamptz,
    }
}

diesel::table! {
    credit_note_lines (tenant_id, line_item_id, credited_line_item_id) {
        tenant_id -> Text,
        line_item_id -> Uuid,
        partner_id -> Text,
        credit_note_id -> Uuid,
        invoice_id -> Uuid,
        credited_line_item_id -> Uuid,
        net_cents -> BigInt,
        tax_cents -> BigInt,
        cost_cents -> BigInt,
    }
}

diesel::table! {
    customer_credit_accounts (tenant_id, partner_id, currency) {
        tenant_id -> Text,
        partner_id -> Text,
        currency -> Text,
        created_at -> Timestamptz,
    }
}

diesel::table! {
    customer_credit_entries (tenant_id, entry_id) {
        tenant_id -> Text,
        entry_id -> Uuid,
        partner_id -> Text,
        currency -> Text,
        lot_id -> Uuid,
        kind -> Text,
        origin_invoice_id -> Uuid,
        used_invoice_id -> Nullable<Uuid>,
        payment_id -> Nullable<Uuid>,
        credit_note_id -> Nullable<Uuid>,
        amount_cents -> BigInt,
        created_at -> Timestamptz,
    }
}

diesel::table! {
    group_members (group_id, user_id) {
        group_id -> Text,
        user_id -> Text,
        tenant_id -> Text,
        partner_id -> Text,
    }
}

diesel::table! {
    groups (group_id) {
        group_id -> Text,
        tenant_id -> Text,
        partner_id -> Text,
        name -> Text,
        role -> Nullable<Text>,
        source_updated_at -> Nullable<Timestamptz>,
        created_at -> Timestamptz,
        updated_at -> Timestamptz,
    }
}

diesel::table! {
    idempotency_keys (day, scope, operation, key) {
        day -> Date,
        scope -> Text,
        operation -> Text,
        key -> Text,
        fingerprint -> Bytea,
        response -> Jsonb,
        created_at -> Timestamptz,
    }
}

diesel::table! {
    invoice_counters (partner_id, series, year) {
        partner_id -> Text,
        series -> Text,
        year -> Integer,
        last_value -> BigInt,
    }
}

diesel::table! {
    invoice_line_parts (tenant_id, line_item_id, position) {
        tenant_id -> Text,
        line_item_id -> Uuid,
        position -> Integer,
        partner_id -> Text,
        invoice_id -> Uuid,
        service_slug -> Text,
        plan_key -> Text,
        amount_cents -> BigInt,
        cost_cents -> BigInt,
    }
}

diesel::table! {
    invoice_lines (tenant_id, line_item_id) {
        tenant_id -> Text,
        line_item_id -> Uuid,
        invoice_id -> Uuid,
        partner_id -> Text,
        order_index -> Integer,
        kind -> Text,
        description -> Text,
        quantity -> Numeric,
        unit_label -> Nullable<Text>,
        unit_price_cents -> Numeric,
        unit_divisor -> Numeric,
        amount_cents -> BigInt,
        requested_tax_rate -> Nullable<Numeric>,
        requested_tax_category -> Nullable<Text>,
        tax_rate -> Nullable<Numeric>,
        tax_category -> Nullable<Text>,
        tax_cents -> BigInt,
        tax_date -> Nullable<Date>,
        period_start -> Nullable<Date>,
        period_end -> Nullable<Date>,
        subscription_id -> Nullable<Uuid>,
        service_id -> Nullable<Uuid>,
        service_slug -> Nullable<Text>,
        plan_key -> Nullable<Text>,
        metric_slug -> Nullable<Text>,
        billed_item_id -> Nullable<Uuid>,
        explanation -> Nullable<Jsonb>,
        platform_cost_cents -> BigInt,
    }
}

diesel::table! {
    invoice_numbers (partner_id, number) {
        partner_id -> Text,
        number -> Text,
        series -> Text,
        year -> Integer,
        value -> BigInt,
        tenant_id -> Text,
        invoice_id -> Uuid,
    }
}

diesel::table! {
    invoices (tenant_id, invoice_id) {
        tenant_id -> Text,
        invoice_id -> Uuid,
        partner_id -> Text,
        document_type -> Text,
        number -> Nullable<Text>,
        status -> Text,
        currency -> Text,
        issue_date -> Nullable<Date>,
        due_date -> Nullable<Date>,
        tax_point_date -> Nullable<Date>,
        period_start -> Nullable<Date>,
        period_end -> Nullable<Date>,
        subtotal_cents -> BigInt,
        tax_cents -> BigInt,
        total_cents -> BigInt,
        paid_cents -> BigInt,
        credited_cents -> BigInt,
        due_cents -> BigInt,
        buyer_snapshot -> Nullable<Jsonb>,
        seller_snapshot -> Nullable<Jsonb>,
        vat_details -> Nullable<Jsonb>,
        notes -> Nullable<Text>,
        referenced_invoice_id -> Nullable<Uuid>,
        run_date -> Nullable<Date>,
        created_at -> Timestamptz,
        updated_at -> Timestamptz,
        finalized_at -> Nullable<Timestamptz>,
        sent_at -> Nullable<Timestamptz>,
        paid_at -> Nullable<Timestamptz>,
        voided_at -> Nullable<Timestamptz>,
        payment_reversed_at -> Nullable<Timestamptz>,
        overdue_at -> Nullable<Timestamptz>,
    }
}

diesel::table! {
    journals (tenant_id, journal_id) {
        tenant_id -> Text,
        journal_id -> Uuid,
        partner_id -> Text,
        operation_key -> Text,
        kind -> Text,
        invoice_id -> Nullable<Uuid>,
        occurred_at -> Timestamptz,
    }
}

diesel::table! {
    ledger_entries (tenant_id, journal_id, entry_no) {
        tenant_id -> Text,
        journal_id -> Uuid,
        entry_no -> SmallInt,
        partner_id -> Text,
        account -> Text,
        currency -> Text,
        amount_cents -> BigInt,
        occurred_at -> Timestamptz,
    }
}

diesel::table! {
    mails (tenant_id, mail_id) {
        tenant_id -> Text,
        mail_id -> Uuid,
        partner_id -> Text,
        kind -> Text,
        invoice_id -> Nullable<Uuid>,
        template_name -> Text,
        language -> Text,
        from_name -> Nullable<Text>,
        reply_to -> Nullable<Text>,
        to_address -> Text,
        subject -> Text,
        text_body -> Text,
        html_body -> Nullable<Text>,
        attachments -> Jsonb,
        held -> Bool,
        status -> Text,
        reason -> Nullable<Text>,
        attempts -> Integer,
        next_attempt_at -> Timestamptz,
        sender -> Nullable<Text>,
        message_id -> Nullable<Text>,
        first_attempt_at -> Nullable<Timestamptz>,
        created_at -> Timestamptz,
        sent_at -> Nullable<Timestamptz>,
        failed_at -> Nullable<Timestamptz>,
    }
}

diesel::table! {
    metrics (metric_id) {
        metric_id -> Uuid,
        service_id -> Uuid,
        slug -> Text,
        name -> Text,
        unit -> Text,
        aggregation -> Text,
        created_at -> Timestamptz,
    }
}

diesel::table! {
    mrr_changes (tenant_id, subscription_id, ordinal) {
        tenant_id -> Text,
        subscription_id -> Uuid,
        ordinal -> Integer,
        partner_id -> Text,
        kind -> Text,
        currency -> Text,
        delta_cents -> BigInt,
        counted_cents -> Nullable<BigInt>,
        occurred_at -> Timestamptz,
        created_at -> Timestamptz,
    }
}

diesel::table! {
    notification_reads (tenant_id, user_id, notification_id) {
        tenant_id -> Text,
        user_id -> Text,
        notification_id -> Uuid,
        read_at -> Timestamptz,
    }
}

diesel::table! {
    notifications (tenant_id, notification_id) {
        tenant_id -> Text,
        notification_id -> Uuid,
        partner_id -> Text,
        user_id -> Nullable<Text>,
        category -> Text,
        severity -> Text,
        message -> Text,
        parameters -> Jsonb,
        link -> Nullable<Text>,
        created_at -> Timestamptz,
    }
}

diesel::table! {
    outbox_events (id) {
        id -> Uuid,
        event_type -> Text,
        tenant_id -> Nullable<Text>,
        partner_id -> Nullable<Text>,
        object_id -> Text,
        sequence -> BigInt,
        occurred_at -> Timestamptz,
        idempotency_key -> Text,
        data -> Jsonb,
        dispatched_at -> Nullable<Timestamptz>,
    }
}

diesel::table! {
    partners (partner_id) {
        partner_id -> Text,
        name -> Text,
        is_active -> Bool,
        legal_name -> Nullable<Text>,
        seller_address_line1 -> Nullable<Text>,
        seller_address_line2 -> Nullable<Text>,
        seller_postal_code -> Nullable<Text>,
        seller_city -> Nullable<Text>,
        seller_state -> Nullable<Text>,
        seller_country_code -> Nullable<Text>,
        seller_vat_number -> Nullable<Text>,
        seller_tax_number -> Nullable<Text>,
        seller_registration_number -> Nullable<Text>,
        seller_contact_name -> Nullable<Text>,
        seller_email -> Nullable<Text>,
        seller_phone -> Nullable<Text>,
        seller_iban -> Nullable<Text>,
        seller_bic -> Nullable<Text>,
        seller_peppol_id -> Nullable<Text>,
        seller_peppol_scheme -> Nullable<Text>,
        small_business_note -> Nullable<Text>,
        support_email -> Nullable<Text>,
        logo_url -> Nullable<Text>,
        invoice_number_prefix -> Text,
        invoice_template_name -> Nullable<Text>,
        email_template_name -> Nullable<Text>,
        timezone -> Text,
        oss_registered -> Bool,
        home_tenant_id -> Nullable<Text>,
        event_sequence -> BigInt,
        source_updated_at -> Nullable<Timestamptz>,
        created_at -> Timestamptz,
        updated_at -> Timestamptz,
    }
}

diesel::table! {
    pack_items (pack_id, version, position) {
        pack_id -> Uuid,
        version -> Integer,
        position -> Integer,
        service_id -> Uuid,
        plan_id -> Uuid,
        override_price_cents -> Nullable<BigInt>,
        sort_order -> Integer,
    }
}

diesel::table! {
    pack_periods (tenant_id, period_id) {
        tenant_id -> Text,
        period_id -> Uuid,
        partner_id -> Text,
        pack_subscription_id -> Uuid,
        ordinal -> Integer,
        starts_at -> Timestamptz,
        ends_at -> Nullable<Timestamptz>,
        pack_id -> Uuid,
        pack_version -> Integer,
        created_at -> Timestamptz,
    }
}

diesel::table! {
    pack_subscriptions (tenant_id, pack_subscription_id) {
        tenant_id -> Text,
        pack_subscription_id -> Uuid,
        partner_id -> Text,
        pack_id -> Uuid,
        pack_slug -> Text,
        items_version -> Integer,
        status -> Text,
        billing_period -> Text,
        currency -> Text,
        price_cents -> BigInt,
        mrr_amount_cents -> BigInt,
        current_period_start -> Nullable<Timestamptz>,
        current_period_end -> Nullable<Timestamptz>,
        trial_ends_at -> Nullable<Timestamptz>,
        activated_at -> Nullable<Timestamptz>,
        anchor_date -> Nullable<Date>,
        anchored_at -> Nullable<Timestamptz>,
        timezone -> Text,
        pending_cancellation_at -> Nullable<Timestamptz>,
        past_due_since -> Nullable<Timestamptz>,
        suspended_at -> Nullable<Timestamptz>,
        suspension_reason -> Nullable<Text>,
        cancelled_at -> Nullable<Timestamptz>,
        cancellation_reason -> Nullable<Text>,
        metadata -> Jsonb,
        event_sequence -> BigInt,
        created_at -> Timestamptz,
        updated_at -> Timestamptz,
    }
}

diesel::table! {
    pack_versions (pack_id, version) {
        pack_id -> Uuid,
        version -> Integer,
        valid_from -> Timestamptz,
        discount_type -> Text,
        base_price_cents -> BigInt,
        discount_percentage -> Numeric,
        created_at -> Timestamptz,
    }
}

diesel::table! {
    payment_allocations (tenant_id, allocation_id) {
        tenant_id -> Text,
        allocation_id -> Uuid,
        partner_id -> Text,
        invoice_id -> Uuid,
        kind -> Text,
        payment_id -> Nullable<Uuid>,
        credit_note_id -> Nullable<Uuid>,
        currency -> Text,
        amount_cents -> BigInt,
        created_at -> Timestamptz,
    }
}

diesel::table! {
    payments (tenant_id, payment_id) {
        tenant_id -> Text,
        payment_id -> Uuid,
        partner_id -> Text,
        invoice_id -> Uuid,
        kind -> Text,
        status -> Text,
        provider -> Text,
        provider_account -> Nullable<Text>,
        method_type -> Text,
        payment_method_id -> Nullable<Uuid>,
        currency -> Text,
        amount_cents -> BigInt,
        refunds_payment_id -> Nullable<Uuid>,
        reference -> Nullable<Text>,
        reason -> Nullable<Text>,
        failure_code -> Nullable<Text>,
        failure_message -> Nullable<Text>,
        entered_by -> Nullable<Text>,
        paid_at -> Nullable<Timestamptz>,
        reversed_at -> Nullable<Timestamptz>,
        created_at -> Timestamptz,
        updated_at -> Timestamptz,
    }
}

diesel::table! {
    plan_versions (plan_id, version) {
        plan_id -> Uuid,
        version -> Integer,
        valid_from -> Timestamptz,
        base_price_cents -> BigInt,
        created_at -> Timestamptz,
    }
}

diesel::table! {
    plans (plan_id) {
        plan_id -> Uuid,
        service_id -> Uuid,
        slug -> Text,
        name -> Text,
        description -> Nullable<Text>,
        tier -> Nullable<Text>,
        billing_period -> Text,
        currency -> Text,
        features -> Jsonb,
        quotas -> Jsonb,
        is_active -> Bool,
        is_public -> Bool,
        trial_days -> Integer,
        sort_order -> Integer,
        metadata -> Jsonb,
        created_at -> Timestamptz,
        updated_at -> Timestamptz,
    }
}

diesel::table! {
    platform_settings (id) {
        id -> SmallInt,
        version -> Integer,
        data -> Jsonb,
        updated_at -> Timestamptz,
        updated_by -> Nullable<Text>,
    }
}

diesel::table! {
    platform_settings_versions (version) {
        version -> Integer,
        data -> Jsonb,
        updated_at -> Timestamptz,
        updated_by -> Nullable<Text>,
    }
}

diesel::table! {
    pricing_tiers (plan_id, version, metric_slug, position) {
        plan_id -> Uuid,
        version -> Integer,
        metric_slug -> Text,
        position -> Integer,
        pricing_model -> Text,
        tier_start -> Numeric,
        tier_end -> Nullable<Numeric>,
        unit_price_cents -> Numeric,
        unit_label -> Text,
        unit_divisor -> Numeric,
        flat_fee_cents -> BigInt,
        minimum_cents -> BigInt,
    }
}

diesel::table! {
    quota_notices (tenant_id, metric_id, month_starts_at, threshold_percent) {
        tenant_id -> Text,
        service_id -> Uuid,
        metric_id -> Uuid,
        month_starts_at -> Timestamptz,
        threshold_percent -> SmallInt,
        created_at -> Timestamptz,
    }
}

diesel::table! {
    segments (tenant_id, segment_id) {
        tenant_id -> Text,
        segment_id -> Uuid,
        partner_id -> Text,
        subscription_id -> Uuid,
        service_id -> Uuid,
        plan_id -> Uuid,
        plan_version -> Integer,
        month_starts_at -> Timestamptz,
        month_ends_at -> Timestamptz,
        starts_at -> Timestamptz,
        ends_at -> Timestamptz,
        is_trial -> Bool,
        created_at -> Timestamptz,
        billed_at -> Nullable<Timestamptz>,
    }
}

diesel::table! {
    run_drafts (tenant_id, invoice_id) {
        tenant_id -> Text,
        invoice_id -> Uuid,
        partner_id -> Text,
        try_at -> Timestamptz,
        attempts -> Integer,
        problem -> Nullable<Text>,
        created_at -> Timestamptz,
    }
}

diesel::table! {
    billing_parked (tenant_id, partner_id, currency) {
        tenant_id -> Text,
        partner_id -> Text,
        currency -> Text,
        reason -> Text,
        message -> Text,
        try_at -> Timestamptz,
        created_at -> Timestamptz,
    }
}

diesel::table! {
    late_usage (tenant_id, segment_id) {
        tenant_id -> Text,
        segment_id -> Uuid,
        partner_id -> Text,
        marked_at -> Timestamptz,
    }
}

diesel::table! {
    worker_state (worker) {
        worker -> Text,
        last_run_at -> Timestamptz,
    }
}

diesel::table! {
    service_keys (key_id) {
        key_id -> Text,
        service_id -> Uuid,
        secret_sha256 -> Bytea,
        created_at -> Timestamptz,
        expires_at -> Nullable<Timestamptz>,
    }
}

diesel::table! {
    service_packs (pack_id) {
        pack_id -> Uuid,
        slug -> Text,
        name -> Text,
        description -> Nullable<Text>,
        icon_url -> Nullable<Text>,
        billing_period -> Text,
        currency -> Text,
        trial_days -> Integer,
        features -> Jsonb,
        is_active -> Bool,
        is_public -> Bool,
        sort_order -> Integer,
        created_at -> Timestamptz,
        updated_at -> Timestamptz,
    }
}

diesel::table! {
    service_charge_references (service_id, external_reference) {
        service_id -> Uuid,
        external_reference -> Text,
        tenant_id -> Text,
        charge_id -> Uuid,
    }
}

diesel::table! {
    service_charges (tenant_id, charge_id) {
        tenant_id -> Text,
        charge_id -> Uuid,
        partner_id -> Text,
        service_id -> Uuid,
        description -> Text,
        quantity -> Numeric,
        unit_price_cents -> Numeric,
        amount_cents -> BigInt,
        currency -> Text,
        tax_rate -> Nullable<Numeric>,
        occurred_at -> Timestamptz,
        external_reference -> Text,
        status -> Text,
        invoice_id -> Nullable<Uuid>,
        withdrawn_at -> Nullable<Timestamptz>,
        created_at -> Timestamptz,
        updated_at -> Timestamptz,
    }
}

diesel::table! {
    services (service_id) {
        service_id -> Uuid,
        slug -> Text,
        name -> Text,
        description -> Nullable<Text>,
        category -> Nullable<Text>,
        icon_url -> Nullable<Text>,
        version -> Nullable<Text>,
        app_id -> Nullable<Text>,
        client_id -> Nullable<Text>,
        base_url -> Nullable<Text>,
        health_check_url -> Nullable<Text>,
        capabilities -> Jsonb,
        endpoints -> Jsonb,
        provisioning -> Nullable<Jsonb>,
        status -> Text,
        health_status -> Nullable<Text>,
        heartbeat_interval_seconds -> Nullable<Integer>,
        last_heartbeat_at -> Nullable<Timestamptz>,
        missed_heartbeats -> Integer,
        pending_base_url -> Nullable<Text>,
        pending_health_check_url -> Nullable<Text>,
        registration_version -> Integer,
        registered_at -> Nullable<Timestamptz>,
        approved_at -> Nullable<Timestamptz>,
        suspended_at -> Nullable<Timestamptz>,
        suspension_reason -> Nullable<Text>,
        is_active -> Bool,
        is_public -> Bool,
        sort_order -> Integer,
        metadata -> Jsonb,
        created_at -> Timestamptz,
        updated_at -> Timestamptz,
    }
}

diesel::table! {
    subscription_periods (tenant_id, period_id) {
        tenant_id -> Text,
        period_id -> Uuid,
        partner_id -> Text,
        subscription_id -> Uuid,
        ordinal -> Integer,
        starts_at -> Timestamptz,
        ends_at -> Nullable<Timestamptz>,
        plan_id -> Uuid,
        plan_version -> Integer,
        quantity -> Integer,
        created_at -> Timestamptz,
        billed_until -> Nullable<Timestamptz>,
        whole_starts_at -> Timestamptz,
        whole_ends_at -> Nullable<Timestamptz>,
    }
}

diesel::table! {
    period_credits (tenant_id, subscription_id, at) {
        tenant_id -> Text,
        subscription_id -> Uuid,
        at -> Timestamptz,
        partner_id -> Text,
        period_id -> Uuid,
        billed_item_id -> Uuid,
        billed_cents -> BigInt,
        seconds -> BigInt,
        of_seconds -> BigInt,
        created_at -> Timestamptz,
    }
}

diesel::table! {
    subscriptions (tenant_id, subscription_id) {
        tenant_id -> Text,
        subscription_id -> Uuid,
        partner_id -> Text,
        service_id -> Uuid,
        plan_id -> Uuid,
        quantity -> Integer,
        status -> Text,
        billing_period -> Text,
        currency -> Text,
        mrr_amount_cents -> BigInt,
        current_period_start -> Nullable<Timestamptz>,
        current_period_end -> Nullable<Timestamptz>,
        trial_ends_at -> Nullable<Timestamptz>,
        activated_at -> Nullable<Timestamptz>,
        anchor_date -> Nullable<Date>,
        anchored_at -> Nullable<Timestamptz>,
        timezone -> Text,
        pending_cancellation_at -> Nullable<Timestamptz>,
        pending_plan_id -> Nullable<Uuid>,
        pending_quantity -> Nullable<Integer>,
        ends_at -> Nullable<Timestamptz>,
        past_due_since -> Nullable<Timestamptz>,
        suspended_at -> Nullable<Timestamptz>,
        suspension_reason -> Nullable<Text>,
        cancelled_at -> Nullable<Timestamptz>,
        cancellation_reason -> Nullable<Text>,
        pack_subscription_id -> Nullable<Uuid>,
        metadata -> Jsonb,
        event_sequence -> BigInt,
        usage_until -> Nullable<Timestamptz>,
        next_event_at -> Nullable<Timestamptz>,
        created_at -> Timestamptz,
        updated_at -> Timestamptz,
        prices_untold -> Bool,
        prices_told_at -> Nullable<Timestamptz>,
    }
}

diesel::table! {
    tenants (tenant_id) {
        tenant_id -> Text,
        partner_id -> Text,
        name -> Text,
        is_active -> Bool,
        preferred_language -> Nullable<Text>,
        timezone -> Nullable<Text>,
        metadata -> Jsonb,
        event_sequence -> BigInt,
        source_updated_at -> Nullable<Timestamptz>,
        created_at -> Timestamptz,
        updated_at -> Timestamptz,
    }
}

diesel::table! {
    usage_events (tenant_id, service_id, idempotency_key) {
        tenant_id -> Text,
        service_id -> Uuid,
        metric_id -> Uuid,
        segment_id -> Uuid,
        idempotency_key -> Text,
        quantity -> Numeric,
        occurred_at -> Timestamptz,
        received_at -> Timestamptz,
        unique_key -> Nullable<Text>,
        metadata -> Nullable<Jsonb>,
    }
}

diesel::table! {
    usage_keys (key_hash, tenant_id, service_id) {
        tenant_id -> Text,
        service_id -> Uuid,
        key_hash -> Uuid,
        received_at -> Timestamptz,
    }
}

diesel::table! {
    usage_segment_totals (tenant_id, segment_id, metric_id, stripe) {
        tenant_id -> Text,
        segment_id -> Uuid,
        metric_id -> Uuid,
        stripe -> SmallInt,
        service_id -> Uuid,
        value -> Numeric,
        repeats -> BigInt,
        events -> BigInt,
        last_at -> Nullable<Timestamptz>,
        last_received_at -> Nullable<Timestamptz>,
        first_event_at -> Timestamptz,
        newest_event_at -> Timestamptz,
    }
}

diesel::table! {
    usage_totals (tenant_id, segment_id, metric_id, hour, stripe) {
        tenant_id -> Text,
        segment_id -> Uuid,
        metric_id -> Uuid,
        hour -> Timestamptz,
        stripe -> SmallInt,
        service_id -> Uuid,
        value -> Numeric,
        events -> BigInt,
        last_at -> Nullable<Timestamptz>,
        last_received_at -> Nullable<Timestamptz>,
    }
}

diesel::table! {
    usage_uniques (tenant_id, segment_id, metric_id, key_hash) {
        tenant_id -> Text,
        segment_id -> Uuid,
        metric_id -> Uuid,
        key_hash -> Uuid,
        service_id -> Uuid,
    }
}

diesel::table! {
    user_roles (user_id, role) {
        user_id -> Text,
        tenant_id -> Text,
        partner_id -> Text,
        role -> Text,
        granted_by -> Text,
        granted_at -> Timestamptz,
    }
}

diesel::table! {
    users (user_id) {
        user_id -> Text,
        tenant_id -> Text,
        partner_id -> Text,
        email -> Nullable<Text>,
        display_name -> Nullable<Text>,
        preferred_language -> Nullable<Text>,
        is_active -> Bool,
        claims_valid_from -> Nullable<Timestamptz>,
        source_updated_at -> Nullable<Timestamptz>,
        created_at -> Timestamptz,
        updated_at -> Timestamptz,
        last_seen_at -> Nullable<Timestamptz>,
        token_roles -> Array<Text>,
        erased_at -> Nullable<Timestamptz>,
    }
}

diesel::joinable!(subscriptions -> services (service_id));
diesel::joinable!(plans -> services (service_id));
diesel::joinable!(metrics -> services (service_id));
diesel::table! {
    invoice_originals (tenant_id, invoice_id) {
        tenant_id -> Text,
        invoice_id -> Uuid,
        partner_id -> Text,
        format -> Text,
        profile -> Text,
        media_type -> Text,
        sha256 -> Bytea,
        content -> Bytea,
        created_at -> Timestamptz,
    }
}

diesel::table! {
    invoice_pdfs (tenant_id, invoice_id, version) {
        tenant_id -> Text,
        invoice_id -> Uuid,
        version -> Integer,
        partner_id -> Text,
        status -> Text,
        language -> Nullable<Text>,
        template_id -> Nullable<Uuid>,
        template_version -> Nullable<Integer>,
        builtin_sha256 -> Nullable<Bytea>,
        object_key -> Nullable<Text>,
        sha256 -> Nullable<Bytea>,
        size -> Nullable<BigInt>,
        attempts -> Integer,
        next_attempt_at -> Nullable<Timestamptz>,
        failure -> Nullable<Text>,
        created_at -> Timestamptz,
        rendered_at -> Nullable<Timestamptz>,
    }
}

diesel::table! {
    template_versions (template_id, version) {
        template_id -> Uuid,
        version -> Integer,
        tenant_id -> Nullable<Text>,
        partner_id -> Nullable<Text>,
        subject -> Nullable<Text>,
        html_content -> Text,
        css_content -> Nullable<Text>,
        editor_data -> Nullable<Jsonb>,
        created_at -> Timestamptz,
    }
}

diesel::table! {
    templates (template_id) {
        template_id -> Uuid,
        scope -> Text,
        tenant_id -> Nullable<Text>,
        partner_id -> Nullable<Text>,
        name -> Text,
        document_type -> Text,
        language -> Nullable<Text>,
        subject -> Nullable<Text>,
        version -> Integer,
        created_at -> Timestamptz,
        updated_at -> Timestamptz,
        deleted_at -> Nullable<Timestamptz>,
    }
}

diesel::table! {
    dunning_cases (tenant_id, invoice_id, past_due_at) {
        tenant_id -> Text,
        invoice_id -> Uuid,
        past_due_at -> Timestamptz,
        partner_id -> Text,
        timezone -> Text,
        reminded_day -> Nullable<Integer>,
        suspended_at -> Nullable<Timestamptz>,
        cancelled_at -> Nullable<Timestamptz>,
        next_step_at -> Nullable<Timestamptz>,
        settings_version -> Integer,
        created_at -> Timestamptz,
        ended_at -> Nullable<Timestamptz>,
    }
}

diesel::table! {
    identity_sync_requests (subject_type, subject_id) {
        subject_type -> Text,
        subject_id -> Text,
        named_tenant_id -> Text,
        named_partner_id -> Text,
        first_refused_at -> Timestamptz,
        last_refused_at -> Timestamptz,
    }
}

diesel::table! {
    trial_notices (tenant_id, subscription_id) {
        tenant_id -> Text,
        subscription_id -> Uuid,
        partner_id -> Text,
        trial_ends_at -> Timestamptz,
        told_days -> Nullable<Integer>,
        next_at -> Timestamptz,
        settings_version -> Integer,
        created_at -> Timestamptz,
    }
}

diesel::table! {
    price_announcements (source_type, source_id, version) {
        source_id -> Uuid,
        version -> Integer,
        created_at -> Timestamptz,
        after_tenant_id -> Nullable<Text>,
        after_subscription_id -> Nullable<Uuid>,
        told -> BigInt,
        finished_at -> Nullable<Timestamptz>,
        source_type -> Text,
    }
}

diesel::allow_tables_to_appear_in_same_query!(subscriptions, services);
diesel::allow_tables_to_appear_in_same_query!(subscriptions, plans);
diesel::allow_tables_to_appear_in_same_query!(plans, services);
diesel::allow_tables_to_appear_in_same_query!(dunning_cases, invoice_lines);
