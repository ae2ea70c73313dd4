use super::*;
use crate::mail::PaymentFailedMail;
use crate::samples;
use crate::{Context, Rendered, check, render};

#[test]
fn every_kind_has_one_in_every_language_and_it_is_sound() {
    for kind in Kind::ALL.iter().chain(Kind::BUILT_IN) {
        for language in LANGUAGES {
            let template = find(*kind, language).unwrap_or_else(|| panic!("{kind} {language}"));
            assert_eq!(check(&template.template()), [], "{kind} {language}");
            let rendered = render(&template.template(), &samples::context(*kind, language)).unwrap();
            match rendered {
                Rendered::Document { html, css } => {
                    assert!(!kind.is_mail() && html.contains("</html>") && css.contains(".lines"));
                }
                Rendered::Mail { subject, html, text } => {
                    assert!(kind.is_mail() && subject.len() > 10, "{subject}");
                    assert!(html.contains("https://portal.noordzee.example/billing"), "{kind} {language}");
                    assert!(text.contains("Noordzee Software B.V."), "{text}");
                    assert!(!text.contains(['<', '{']), "{text}");
                }
            }
        }
    }
    assert_eq!(all().len(), 2 + 5 * 6);
}

#[test]
fn a_mail_reads_well() {
    let template = find(Kind::EmailTrialEnding, Language::En).unwrap();
    let rendered =
        render(&template.template(), &samples::context(Kind::EmailTrialEnding, Language::En)).unwrap();
    let Rendered::Mail { subject, text, .. } = rendered else { panic!("a mail") };
    assert_eq!(subject, "Your trial of ScaiFlow ends on 31 March 2026");
    assert_eq!(
        text,
        "Noordzee Software B.V.\n\nDear J. de Vries,\n\n\
         Your trial of ScaiFlow (Pro) ends on 31\u{a0}March 2026, in 3 days.\n\nAs agreed on the phone.\n\n\
         After that the plan costs €49.00 a month, without VAT. If you do not want to go on, cancel before that day; \
         nothing will then be charged.\n\n\
         Manage the subscription (https://portal.noordzee.example/billing)\n\n\
         Kind regards,\nFinance desk\n\n\
         Noordzee Software B.V., Keizersgracht 100, 3rd floor, 1015 AA Amsterdam, Netherlands\n\
         billing@noordzee.example\n"
    );
}

#[test]
fn an_overdue_invoice_is_no_failed_charge() {
    for language in LANGUAGES {
        let template = find(Kind::EmailPaymentFailed, language).unwrap();
        let mail =
            PaymentFailedMail::new(&samples::invoice(), &samples::overdue(), &samples::envelope(), language);
        let overdue = render(&template.template(), &Context::PaymentFailed(Box::new(mail.unwrap()))).unwrap();
        let failed =
            render(&template.template(), &samples::context(Kind::EmailPaymentFailed, language)).unwrap();
        let (Rendered::Mail { subject, text, .. }, Rendered::Mail { subject: other, text: charge, .. }) =
            (overdue, failed)
        else {
            panic!("mails")
        };
        assert!(subject.contains("SCAI-2026-000042") && subject != other, "{subject}");
        assert!(charge.contains("4242") && !text.contains("4242"), "{text}");
        // Both say until when it can be paid before the service is switched off: on the 29th.
        assert!(text.contains("29") && charge.contains("29"), "{text}");
    }
}

#[test]
fn the_mail_of_an_overdue_invoice_reads_well() {
    let mail = PaymentFailedMail::new(
        &samples::invoice(),
        &samples::overdue(),
        &crate::mail::Envelope::default(),
        Language::En,
    );
    let template = find(Kind::EmailPaymentFailed, Language::En).unwrap();
    let rendered = render(&template.template(), &Context::PaymentFailed(Box::new(mail.unwrap()))).unwrap();
    let Rendered::Mail { subject, text, .. } = rendered else { panic!("a mail") };
    assert_eq!(subject, "Invoice SCAI-2026-000042 is overdue");
    assert_eq!(
        text,
        "Noordzee Software B.V.\n\nDear customer,\n\n\
         Invoice SCAI-2026-000042 was due on 15\u{a0}March 2026. We have not received €580.80 yet. Please pay it now; \
         if your payment is on its way, you need not do anything.\n\n\
         If the invoice is still unpaid on 29\u{a0}March 2026, the services on it will be suspended.\n\n\
         Kind regards,\nFinance desk\n\n\
         Noordzee Software B.V., Keizersgracht 100, 3rd floor, 1015 AA Amsterdam, Netherlands\n\
         billing@noordzee.example\n"
    );
}
