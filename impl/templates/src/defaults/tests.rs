use super::*;
use crate::samples;
use crate::{Rendered, check, render};

#[test]
fn every_kind_has_one_in_every_language_and_it_is_sound() {
    for kind in Kind::ALL {
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
    assert_eq!(all().len(), 2 + 4 * 6);
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
