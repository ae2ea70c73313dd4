//! Owns the fixed texts of documents, in all languages.

use crate::describe::{Described, Field, Shape};

use super::Language;

/// One table: the name of a label, what it is for, and its text in the six languages.
macro_rules! labels {
    ( $( $(#[doc = $doc:literal])+ $name:ident: $en:literal, $nl:literal, $de:literal, $fr:literal, $es:literal, $it:literal; )+ ) => {
        /// The fixed texts of a document, in its language.
        #[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
        pub struct Labels {
            $( $(#[doc = $doc])+ pub $name: &'static str, )+
        }

        impl Described for Labels {
            const SHAPE: Shape = Shape::Object(&[
                $( Field { name: stringify!($name), description: concat!($($doc),+), shape: Shape::Text }, )+
            ]);
        }

        const EN: Labels = Labels { $( $name: $en, )+ };
        const NL: Labels = Labels { $( $name: $nl, )+ };
        const DE: Labels = Labels { $( $name: $de, )+ };
        const FR: Labels = Labels { $( $name: $fr, )+ };
        const ES: Labels = Labels { $( $name: $es, )+ };
        const IT: Labels = Labels { $( $name: $it, )+ };
    };
}

pub(super) const fn of(language: Language) -> &'static Labels {
    match language {
        Language::En => &EN,
        Language::Nl => &NL,
        Language::De => &DE,
        Language::Fr => &FR,
        Language::Es => &ES,
        Language::It => &IT,
    }
}

labels! {
    /// Title of an invoice
    invoice: "Invoice", "Factuur", "Rechnung", "Facture", "Factura", "Fattura";
    /// Title of a credit note
    credit_note: "Credit note", "Creditnota", "Rechnungskorrektur", "Avoir", "Factura rectificativa", "Nota di credito";
    /// Title of a document without number
    draft: "Draft", "Concept", "Entwurf", "Brouillon", "Borrador", "Bozza";
    /// Mark on a void document
    void: "Cancelled", "Geannuleerd", "Storniert", "Annulée", "Anulada", "Annullata";
    /// Head of the seller's block
    seller: "From", "Van", "Rechnungssteller", "Émetteur", "Emisor", "Emittente";
    /// Head of the buyer's block
    bill_to: "Bill to", "Factuur aan", "Rechnungsempfänger", "Facturé à", "Facturar a", "Intestata a";
    /// Before the number of an invoice
    invoice_number: "Invoice number", "Factuurnummer", "Rechnungsnummer", "Numéro de facture", "Número de factura", "Numero fattura";
    /// Before the number of a credit note
    credit_note_number: "Credit note number", "Creditnotanummer", "Gutschriftsnummer", "Numéro d’avoir", "Número de rectificativa", "Numero nota di credito";
    /// Before the date of issue
    issue_date: "Issue date", "Factuurdatum", "Rechnungsdatum", "Date d’émission", "Fecha de emisión", "Data di emissione";
    /// Before the due date
    due_date: "Due date", "Vervaldatum", "Fällig am", "Date d’échéance", "Fecha de vencimiento", "Data di scadenza";
    /// Before the tax point
    tax_point_date: "Tax point", "Datum van levering", "Leistungsdatum", "Date d’exigibilité", "Fecha de devengo", "Data di esigibilità";
    /// Before the period that a document covers
    period: "Period", "Periode", "Leistungszeitraum", "Période", "Período", "Periodo";
    /// Before the buyer's own reference
    buyer_reference: "Your reference", "Uw referentie", "Ihre Referenz", "Votre référence", "Su referencia", "Vostro riferimento";
    /// Before the invoice that a credit note takes back
    referenced_invoice: "Regarding invoice", "Betreft factuur", "Zur Rechnung", "Concerne la facture", "Rectifica la factura", "Riferita alla fattura";
    /// Before a VAT number
    vat_number: "VAT no.", "Btw-nr.", "USt-IdNr.", "N° TVA", "NIF-IVA", "P. IVA";
    /// Before a tax number
    tax_number: "Tax no.", "Fiscaal nr.", "Steuernummer", "N° fiscal", "NIF", "Codice fiscale";
    /// Before a number in the trade register
    registration_number: "Company no.", "KvK-/reg.nr.", "Register-Nr.", "N° d’immatriculation", "N.º de registro", "N. iscrizione";
    /// Before a mail address
    email: "E-mail", "E-mail", "E-Mail", "E-mail", "Correo", "E-mail";
    /// Before a telephone number
    phone: "Phone", "Telefoon", "Telefon", "Téléphone", "Teléfono", "Telefono";
    /// Column of descriptions
    description: "Description", "Omschrijving", "Beschreibung", "Description", "Descripción", "Descrizione";
    /// Column of quantities
    quantity: "Quantity", "Aantal", "Menge", "Quantité", "Cantidad", "Quantità";
    /// Column of unit prices
    unit_price: "Unit price", "Prijs", "Einzelpreis", "Prix unitaire", "Precio", "Prezzo";
    /// Column of VAT rates
    tax_rate: "VAT", "Btw", "USt.", "TVA", "IVA", "IVA";
    /// Column of net amounts
    amount: "Amount", "Bedrag", "Betrag", "Montant", "Importe", "Importo";
    /// Between a price and the number of units it is for
    per: "per", "per", "je", "pour", "por", "per";
    /// Before the sum without VAT
    subtotal: "Subtotal", "Subtotaal", "Nettobetrag", "Total HT", "Base imponible", "Imponibile";
    /// Before the sum of VAT
    tax: "VAT", "Btw", "Umsatzsteuer", "TVA", "IVA", "IVA";
    /// Before the sum with VAT
    total: "Total", "Totaal", "Gesamtbetrag", "Total TTC", "Total", "Totale";
    /// Before what was paid before
    prepaid: "Already paid", "Reeds betaald", "Bereits bezahlt", "Déjà payé", "Ya pagado", "Già pagato";
    /// Before customer credit that was applied
    credit_applied: "Credit applied", "Verrekend tegoed", "Verrechnetes Guthaben", "Crédit imputé", "Saldo aplicado", "Credito applicato";
    /// Before what credit notes have taken back
    credited: "Credited", "Gecrediteerd", "Gutgeschrieben", "Montant crédité", "Abonado", "Accreditato";
    /// Before what is left to pay
    due: "Amount due", "Te betalen", "Zahlbetrag", "Net à payer", "Importe pendiente", "Importo dovuto";
    /// Before the sum of a credit note
    total_credited: "Total credited", "Totaal gecrediteerd", "Gutschriftbetrag", "Total de l’avoir", "Total abonado", "Totale accreditato";
    /// Head of the table of VAT by rate
    tax_summary: "VAT summary", "Btw-overzicht", "Steuerübersicht", "Détail de la TVA", "Desglose de IVA", "Riepilogo IVA";
    /// Column of VAT rates in that table
    rate: "Rate", "Tarief", "Steuersatz", "Taux", "Tipo", "Aliquota";
    /// Column of taxable amounts in that table
    taxable: "Taxable amount", "Grondslag", "Bemessungsgrundlage", "Base HT", "Base", "Imponibile";
    /// Column of tax in that table
    tax_amount: "VAT amount", "Btw-bedrag", "Steuerbetrag", "Montant de TVA", "Cuota", "Imposta";
    /// Before the whole tax in the currency of the taxing country; `{currency}` is its code
    tax_in_currency: "VAT in {currency}", "Btw in {currency}", "Umsatzsteuer in {currency}", "TVA en {currency}", "IVA en {currency}", "IVA in {currency}";
    /// Before an exchange rate; `{date}` is its day
    exchange_rate: "ECB reference rate of {date}", "ECB-referentiekoers van {date}", "EZB-Referenzkurs vom {date}", "Cours de référence de la BCE du {date}", "Tipo de referencia del BCE del {date}", "Cambio di riferimento BCE del {date}";
    /// Head of the payment block
    payment: "Payment", "Betaling", "Zahlung", "Paiement", "Pago", "Pagamento";
    /// How to pay; `{amount}`, `{date}` and `{number}` are filled in
    pay_by_transfer: "Please transfer {amount} by {date}, quoting {number}.", "Gelieve {amount} over te maken vóór {date} onder vermelding van {number}.", "Bitte überweisen Sie {amount} bis zum {date} unter Angabe von {number}.", "Merci de virer {amount} avant le {date} en indiquant {number}.", "Transfiera {amount} antes del {date} indicando {number}.", "Si prega di versare {amount} entro il {date} indicando {number}.";
    /// How to pay without a date; `{amount}` and `{number}` are filled in
    pay_on_receipt: "Please transfer {amount}, quoting {number}.", "Gelieve {amount} over te maken onder vermelding van {number}.", "Bitte überweisen Sie {amount} unter Angabe von {number}.", "Merci de virer {amount} en indiquant {number}.", "Transfiera {amount} indicando {number}.", "Si prega di versare {amount} indicando {number}.";
    /// That a stored card is charged; `{amount}` and `{date}` are filled in
    pay_by_card: "{amount} will be charged to your card on {date}. You need not do anything.", "{amount} wordt op {date} van uw kaart afgeschreven. U hoeft niets te doen.", "{amount} werden am {date} von Ihrer Karte abgebucht. Sie müssen nichts weiter tun.", "{amount} seront débités de votre carte le {date}. Vous n’avez rien à faire.", "Se cargarán {amount} en su tarjeta el {date}. No tiene que hacer nada.", "{amount} saranno addebitati sulla carta il {date}. Non occorre fare nulla.";
    /// That a direct debit is made; `{amount}` and `{date}` are filled in
    pay_by_debit: "{amount} will be collected from your account by direct debit on {date}.", "{amount} wordt op {date} per automatische incasso van uw rekening afgeschreven.", "{amount} werden am {date} per Lastschrift von Ihrem Konto eingezogen.", "{amount} seront prélevés sur votre compte le {date}.", "Se adeudarán {amount} en su cuenta el {date}.", "{amount} saranno addebitati sul conto il {date} tramite addebito diretto.";
    /// That nothing is left to pay
    nothing_due: "Nothing is left to pay. Thank you.", "Er is niets meer te betalen. Hartelijk dank.", "Es ist nichts mehr zu zahlen. Vielen Dank.", "Il n’y a plus rien à payer. Merci.", "No queda nada por pagar. Gracias.", "Non resta nulla da pagare. Grazie.";
    /// What happens with the amount of a credit note
    credit_note_settled: "This amount is set off against your invoices or refunded.", "Dit bedrag wordt verrekend met uw facturen of terugbetaald.", "Dieser Betrag wird mit Ihren Rechnungen verrechnet oder erstattet.", "Ce montant est imputé sur vos factures ou remboursé.", "Este importe se compensa con sus facturas o se reembolsa.", "Questo importo viene compensato con le fatture o rimborsato.";
    /// That a document was made void; `{date}` is filled in
    void_notice: "Cancelled on {date}. Nothing is to be paid.", "Geannuleerd op {date}. Er hoeft niets te worden betaald.", "Storniert am {date}. Es ist nichts zu zahlen.", "Annulée le {date}. Rien n’est à payer.", "Anulada el {date}. No hay nada que pagar.", "Annullata il {date}. Nulla è dovuto.";
    /// The credit note that made a document void; `{number}` is filled in
    void_by: "See credit note {number}.", "Zie creditnota {number}.", "Siehe Gutschrift {number}.", "Voir l’avoir {number}.", "Véase la factura rectificativa {number}.", "Vedi nota di credito {number}.";
    /// Before the holder of the account
    account_holder: "Account holder", "Ten name van", "Kontoinhaber", "Titulaire", "Titular", "Intestatario";
    /// Before the account
    iban: "IBAN", "IBAN", "IBAN", "IBAN", "IBAN", "IBAN";
    /// Before the bank's code
    bic: "BIC", "BIC", "BIC", "BIC", "BIC", "BIC";
    /// Before the text of a transfer
    reference: "Reference", "Kenmerk", "Verwendungszweck", "Référence", "Concepto", "Causale";
    /// Under the QR code
    scan_to_pay: "Scan to pay", "Scan om te betalen", "Scannen und zahlen", "Scannez pour payer", "Escanee para pagar", "Scansiona per pagare";
    /// Head of the notes
    notes: "Notes", "Opmerkingen", "Anmerkungen", "Remarques", "Observaciones", "Note";
    /// Head of the reason of a credit note
    reason: "Reason", "Reden", "Grund", "Motif", "Motivo", "Motivo";
    /// Before the number of a page
    page: "Page", "Pagina", "Seite", "Page", "Página", "Pagina";
    /// Between the number of a page and the number of pages
    of: "of", "van", "von", "sur", "de", "di";
}
