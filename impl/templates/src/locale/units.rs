//! Owns the names of common units of measure.

use rust_decimal::Decimal;

use super::Language;

/// English singular, then singular and plural in each language.
type Row = (&'static str, [(&'static str, &'static str); 6]);

#[rustfmt::skip]
const UNITS: &[Row] = &[
    ("seat", [("seat", "seats"), ("plaats", "plaatsen"), ("Platz", "Plätze"), ("poste", "postes"), ("puesto", "puestos"), ("postazione", "postazioni")]),
    ("user", [("user", "users"), ("gebruiker", "gebruikers"), ("Nutzer", "Nutzer"), ("utilisateur", "utilisateurs"), ("usuario", "usuarios"), ("utente", "utenti")]),
    ("licence", [("licence", "licences"), ("licentie", "licenties"), ("Lizenz", "Lizenzen"), ("licence", "licences"), ("licencia", "licencias"), ("licenza", "licenze")]),
    ("piece", [("piece", "pieces"), ("stuk", "stuks"), ("Stück", "Stück"), ("pièce", "pièces"), ("unidad", "unidades"), ("pezzo", "pezzi")]),
    ("unit", [("unit", "units"), ("eenheid", "eenheden"), ("Einheit", "Einheiten"), ("unité", "unités"), ("unidad", "unidades"), ("unità", "unità")]),
    ("minute", [("minute", "minutes"), ("minuut", "minuten"), ("Minute", "Minuten"), ("minute", "minutes"), ("minuto", "minutos"), ("minuto", "minuti")]),
    ("hour", [("hour", "hours"), ("uur", "uur"), ("Stunde", "Stunden"), ("heure", "heures"), ("hora", "horas"), ("ora", "ore")]),
    ("day", [("day", "days"), ("dag", "dagen"), ("Tag", "Tage"), ("jour", "jours"), ("día", "días"), ("giorno", "giorni")]),
    ("month", [("month", "months"), ("maand", "maanden"), ("Monat", "Monate"), ("mois", "mois"), ("mes", "meses"), ("mese", "mesi")]),
    ("quarter", [("quarter", "quarters"), ("kwartaal", "kwartalen"), ("Quartal", "Quartale"), ("trimestre", "trimestres"), ("trimestre", "trimestres"), ("trimestre", "trimestri")]),
    ("year", [("year", "years"), ("jaar", "jaar"), ("Jahr", "Jahre"), ("an", "ans"), ("año", "años"), ("anno", "anni")]),
    ("request", [("request", "requests"), ("verzoek", "verzoeken"), ("Anfrage", "Anfragen"), ("requête", "requêtes"), ("solicitud", "solicitudes"), ("richiesta", "richieste")]),
    ("call", [("call", "calls"), ("aanroep", "aanroepen"), ("Aufruf", "Aufrufe"), ("appel", "appels"), ("llamada", "llamadas"), ("chiamata", "chiamate")]),
    ("message", [("message", "messages"), ("bericht", "berichten"), ("Nachricht", "Nachrichten"), ("message", "messages"), ("mensaje", "mensajes"), ("messaggio", "messaggi")]),
    ("document", [("document", "documents"), ("document", "documenten"), ("Dokument", "Dokumente"), ("document", "documents"), ("documento", "documentos"), ("documento", "documenti")]),
];

/// The name of a known unit, given in English in either number.
pub(super) fn name(language: Language, unit: &str, quantity: Decimal) -> Option<&'static str> {
    let (_, names) = UNITS.iter().find(|(singular, names)| {
        singular.eq_ignore_ascii_case(unit) || names[0].1.eq_ignore_ascii_case(unit)
    })?;
    let (singular, plural) = match language {
        Language::En => names[0],
        Language::Nl => names[1],
        Language::De => names[2],
        Language::Fr => names[3],
        Language::Es => names[4],
        Language::It => names[5],
    };
    let amount = quantity.abs();
    // French counts below two as singular; the others only one itself.
    let one = if language == Language::Fr { amount < Decimal::TWO } else { amount == Decimal::ONE };
    Some(if one { singular } else { plural })
}
