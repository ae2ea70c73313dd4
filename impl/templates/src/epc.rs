//! Owns the QR code for a SEPA credit transfer (EPC069-12, version 002), which banking apps read.

use qrcode::{Color, EcLevel, QrCode};
use scaicontrol_domain::money::{Cents, Currency};

use crate::document::{Document, PaymentMeans};

/// Countries whose accounts take SEPA transfers.
const SEPA: &[&str] = &[
    "AD", "AL", "AT", "BE", "BG", "CH", "CY", "CZ", "DE", "DK", "EE", "ES", "FI", "FR", "GB", "GI", "GR",
    "HR", "HU", "IE", "IS", "IT", "LI", "LT", "LU", "LV", "MC", "MD", "ME", "MK", "MT", "NL", "NO", "PL",
    "PT", "RO", "RS", "SE", "SI", "SK", "SM", "VA",
];

const MAX_NAME_CHARS: usize = 70;
const MAX_TEXT_CHARS: usize = 140;
/// 999 999 999.99 euro.
const MAX_AMOUNT: Cents = Cents(99_999_999_999);
const MAX_PAYLOAD_BYTES: usize = 331;

/// A transfer in euro.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transfer {
    name: String,
    iban: String,
    bic: Option<String>,
    amount: Cents,
    text: String,
}

impl Transfer {
    /// The transfer that settles a document; `None` when nothing is to be transferred, or not by SEPA.
    pub fn of(document: &Document) -> Option<Self> {
        let iban: String =
            document.seller.iban.as_deref()?.chars().filter(|char| !char.is_whitespace()).collect();
        let is_sepa = iban.get(..2).is_some_and(|country| SEPA.contains(&country));
        let payable = document.payment == PaymentMeans::Transfer
            && document.currency == Currency::EUR
            && document.voided.is_none()
            && (Cents(1)..=MAX_AMOUNT).contains(&document.due);
        let number = document.number.as_deref()?;
        (is_sepa && payable).then(|| Self {
            name: line(&document.seller.name, MAX_NAME_CHARS),
            bic: document.seller.bic.as_deref().map(|bic| line(bic, 11)),
            amount: document.due,
            text: line(number, MAX_TEXT_CHARS),
            iban,
        })
    }

    /// What the code says.
    pub fn payload(&self) -> String {
        let euro = Currency::EUR.to_major(self.amount);
        let bic = self.bic.as_deref().unwrap_or_default();
        // Twelve lines: service, version, UTF-8, method, BIC, name, IBAN, amount, purpose, structured reference,
        // text, and a note to the payer; empty ones at the end are left out.
        format!("BCD\n002\n1\nSCT\n{bic}\n{}\n{}\nEUR{euro}\n\n\n{}", self.name, self.iban, self.text)
    }

    /// The code as SVG, one path in a square of its modules with the quiet zone that readers need; `None` when the
    /// payload is longer than the standard allows.
    pub fn svg(&self) -> Option<String> {
        let payload = self.payload();
        if payload.len() > MAX_PAYLOAD_BYTES {
            return None;
        }
        let code = QrCode::with_error_correction_level(payload.as_bytes(), EcLevel::M).ok()?;
        const QUIET: usize = 4;
        let width = code.width();
        let side = width + 2 * QUIET;
        let mut path = String::new();
        for (row, colors) in code.to_colors().chunks(width).enumerate() {
            let mut column = 0;
            while column < width {
                let run = colors[column..].iter().take_while(|color| **color == Color::Dark).count();
                if run > 0 {
                    path.push_str(&format!("M{} {}h{run}v1h-{run}z", column + QUIET, row + QUIET));
                }
                column += run.max(1);
            }
        }
        Some(format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {side} {side}\" width=\"100\" height=\"100\">\
             <path d=\"{path}\" fill=\"#000\"/></svg>"
        ))
    }
}

/// A text as one line of the payload, cut to a number of characters.
fn line(text: &str, max_chars: usize) -> String {
    let cut: String =
        text.chars().map(|char| if char.is_control() { ' ' } else { char }).take(max_chars).collect();
    cut.trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples;

    #[test]
    fn the_payload_is_that_of_the_standard() {
        let transfer = Transfer::of(&samples::invoice()).unwrap();
        assert_eq!(
            transfer.payload(),
            "BCD\n002\n1\nSCT\nABNANL2A\nNoordzee Software B.V.\nNL91ABNA0417164300\nEUR580.80\n\n\nSCAI-2026-000042"
        );
    }

    #[test]
    fn long_names_are_cut_and_lines_cannot_be_added() {
        let mut document = samples::invoice();
        document.seller.name = format!("Evil\nNL00EVIL\r\n{}", "ü".repeat(200));
        document.seller.bic = None;
        let payload = Transfer::of(&document).unwrap().payload();
        let lines: Vec<&str> = payload.split('\n').collect();
        assert_eq!(lines.len(), 11);
        assert_eq!(lines[4], "");
        assert_eq!(lines[5].chars().count(), 70);
        assert_eq!(lines[6], "NL91ABNA0417164300");
        assert!(payload.len() <= MAX_PAYLOAD_BYTES);
    }

    #[test]
    fn only_sepa_transfers_of_euro_have_one() {
        let change = |edit: fn(&mut Document)| {
            let mut document = samples::invoice();
            edit(&mut document);
            Transfer::of(&document)
        };
        assert!(change(|_| ()).is_some());
        assert_eq!(change(|document| document.currency = Currency::parse("USD").unwrap()), None);
        assert_eq!(change(|document| document.due = Cents(0)), None);
        assert_eq!(change(|document| document.due = Cents(100_000_000_000)), None);
        assert_eq!(change(|document| document.payment = PaymentMeans::Card), None);
        assert_eq!(change(|document| document.seller.iban = None), None);
        assert_eq!(
            change(|document| document.seller.iban = Some("BR1500000000000010932840814P2".into())),
            None
        );
        assert_eq!(change(|document| document.number = None), None);
    }

    #[test]
    fn the_picture_is_the_code() {
        let svg = Transfer::of(&samples::invoice()).unwrap().svg().unwrap();
        assert!(svg.starts_with("<svg "));
        // The three finder patterns begin with a run of seven modules.
        assert!(svg.contains("M4 4h7v1h-7z"));
    }
}
