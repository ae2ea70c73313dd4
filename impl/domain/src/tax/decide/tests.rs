use super::*;
use proptest::prelude::*;

const NL: &str = "NL004495445B01";
const DE: &str = "DE136695976";
const FR: &str = "FR40303265045";
const EL: &str = "EL094259216";

fn d(text: &str) -> Decimal {
    text.parse().expect("a decimal")
}

fn day() -> NaiveDate {
    "2026-05-31".parse().expect("a date")
}

fn seller(country: &str, vat_number: Option<&str>) -> Seller {
    Seller { country_code: country.into(), vat_number: vat_number.map(str::to_owned), ..Seller::default() }
}

fn buyer(country: &str, postal_code: &str, vat_number: Option<&str>) -> Buyer {
    Buyer {
        country_code: country.into(),
        postal_code: postal_code.into(),
        is_business: vat_number.is_some(),
        vat_number: vat_number.map(str::to_owned),
        vat_status: VatStatus::Unchecked,
        tax_exempt: false,
        tax_exempt_reason: None,
    }
}

fn at(seller: &Seller, buyer: &Buyer) -> Result<Decision, TaxError> {
    decide_at(seller, buyer, day(), &Rates::published())
}

fn ask(seller: &Seller, buyer: &Buyer, requests: &[Request]) -> Result<Vec<Decision>, TaxError> {
    let lines: Vec<LineRequest> =
        requests.iter().map(|request| LineRequest { tax_point: day(), request: request.clone() }).collect();
    decide(seller, buyer, &lines, &Rates::published()).map(|decision| decision.lines)
}

/// Name, parties, and the expected category, rate, rule and taxing country.
type Case<'a> = (&'a str, &'a Seller, Buyer, &'a str, &'a str, Rule, Option<&'a str>);

#[test]
fn the_published_order() {
    let nl = seller("NL", Some(NL));
    let oss = Seller { oss_registered: true, ..nl.clone() };
    let unregistered = Seller {
        small_business_note: Some("KOR".into()),
        tax_number: Some("T1".into()),
        ..seller("NL", None)
    };
    let us = seller("US", None);
    let nobody = seller("NL", None);
    let exempt = |country: &str| Buyer {
        tax_exempt: true,
        tax_exempt_reason: Some("Embassy".into()),
        ..buyer(country, "", None)
    };
    let invalid = Buyer { vat_status: VatStatus::Invalid, ..buyer("DE", "10115", Some(DE)) };
    let consumer = Buyer { is_business: false, ..buyer("DE", "10115", Some(DE)) };
    use Rule::*;
    let table: Vec<Case<'_>> = vec![
        ("to the US", &nl, buyer("US", "10001", None), "G", "0", BuyerOutside, None),
        ("to GB", &nl, buyer("GB", "", None), "G", "0", BuyerOutside, None),
        ("to Northern Ireland", &nl, buyer("XI", "", Some("XI110305878")), "G", "0", BuyerOutside, None),
        ("to the Canary Islands", &nl, buyer("ES", "35001", None), "G", "0", BuyerOutside, None),
        ("exempt, outside", &nl, exempt("US"), "G", "0", BuyerOutside, None),
        ("small business, outside", &unregistered, buyer("US", "", None), "O", "0", BuyerOutside, None),
        ("no number at all, outside", &nobody, buyer("US", "", None), "O", "0", BuyerOutside, None),
        ("US to US", &us, buyer("US", "", None), "O", "0", BuyerOutside, None),
        ("US to NL", &us, buyer("NL", "", Some(NL)), "O", "0", SellerOutside, None),
        ("US to exempt", &us, exempt("NL"), "O", "0", SellerOutside, None),
        ("exempt at home", &nl, exempt("NL"), "E", "0", TaxExempt, None),
        ("exempt abroad", &nl, exempt("DE"), "E", "0", TaxExempt, None),
        ("exempt, of a small business", &unregistered, exempt("NL"), "E", "0", TaxExempt, None),
        ("small business at home", &unregistered, buyer("NL", "", None), "E", "0", SmallBusiness, None),
        (
            "small business to business",
            &unregistered,
            buyer("DE", "", Some(DE)),
            "E",
            "0",
            SmallBusiness,
            None,
        ),
        ("domestic consumer", &nl, buyer("NL", "", None), "S", "21", Domestic, Some("NL")),
        ("domestic business", &nl, buyer("NL", "", Some(NL)), "S", "21", Domestic, Some("NL")),
        ("domestic, OSS seller", &oss, buyer("NL", "", None), "S", "21", Domestic, Some("NL")),
        ("business abroad", &nl, buyer("DE", "10115", Some(DE)), "AE", "0", ReverseCharge, None),
        ("Greek business", &nl, buyer("GR", "10557", Some(EL)), "AE", "0", ReverseCharge, None),
        ("Greek business, EL", &nl, buyer("EL", "10557", Some(EL)), "AE", "0", ReverseCharge, None),
        ("business in Monaco", &nl, buyer("MC", "98000", Some(FR)), "AE", "0", ReverseCharge, None),
        ("number of another state", &nl, buyer("FR", "75001", Some(DE)), "S", "21", SellerRate, Some("NL")),
        (
            "number of the seller's state",
            &nl,
            buyer("DE", "10115", Some(NL)),
            "S",
            "21",
            SellerRate,
            Some("NL"),
        ),
        ("bad checksum", &nl, buyer("DE", "10115", Some("DE136695970")), "S", "21", SellerRate, Some("NL")),
        ("number known to be invalid", &nl, invalid.clone(), "S", "21", SellerRate, Some("NL")),
        ("consumer with a number", &nl, consumer, "S", "21", SellerRate, Some("NL")),
        ("consumer abroad", &nl, buyer("FI", "00100", None), "S", "21", SellerRate, Some("NL")),
        ("consumer abroad, OSS", &oss, buyer("FI", "00100", None), "S", "25.5", BuyerRate, Some("FI")),
        ("consumer in Monaco, OSS", &oss, buyer("MC", "98000", None), "S", "20", BuyerRate, Some("FR")),
        ("invalid number, OSS", &oss, invalid, "S", "19", BuyerRate, Some("DE")),
    ];
    for (name, seller, buyer, category, rate, rule, country) in table {
        let got = at(seller, &buyer).expect(name);
        assert_eq!(
            (got.category.as_str(), got.rate, got.rule, got.taxing_country.map(EuCountry::as_str)),
            (category, d(rate), rule, country),
            "{name}"
        );
    }
}

#[test]
fn any_answer_of_the_register_but_invalid_allows_reverse_charge() {
    for status in VatStatus::ALL {
        let buyer = Buyer { vat_status: *status, ..buyer("DE", "10115", Some(DE)) };
        let category = at(&seller("NL", Some(NL)), &buyer).expect("decided").category;
        assert_eq!(category == Category::ReverseCharge, *status != VatStatus::Invalid, "{status}");
    }
}

#[test]
fn texts() {
    let nl = seller("NL", Some(NL));
    let text = |decision: Decision| {
        (decision.label, decision.note, decision.exemption_code, decision.exemption_reason)
    };
    let some = |text: &str| Some(text.to_owned());
    let of = |seller: &Seller, buyer: &Buyer| text(at(seller, buyer).expect("decided"));
    assert_eq!(of(&nl, &buyer("NL", "", None)), ("VAT 21.00%".into(), None, None, None));
    let fi = Seller { oss_registered: true, ..nl.clone() };
    assert_eq!(of(&fi, &buyer("FI", "00100", None)).0, "VAT 25.50%");
    assert_eq!(
        of(&nl, &buyer("DE", "", Some(DE))),
        (
            "VAT 0% (Reverse Charge)".into(),
            some("Reverse charge - Art. 196 EU VAT Directive"),
            some("VATEX-EU-AE"),
            some("Reverse charge")
        )
    );
    let export = "Export outside the EU - VAT not applicable";
    assert_eq!(
        of(&nl, &buyer("US", "", None)),
        ("No VAT".into(), some(export), some("VATEX-EU-G"), some(export))
    );
    assert_eq!(
        of(&seller("US", None), &buyer("NL", "", None)),
        ("No VAT".into(), some("No VAT"), some("VATEX-EU-O"), some("Not subject to VAT"))
    );
    let embassy = Buyer { tax_exempt: true, tax_exempt_reason: some("Embassy"), ..buyer("NL", "", None) };
    assert_eq!(of(&nl, &embassy), ("No VAT".into(), some("Embassy"), None, some("Embassy")));
    let unstated = Buyer { tax_exempt_reason: some("  "), ..embassy };
    assert_eq!(of(&nl, &unstated).3, some(REASON_EXEMPT));
}

#[test]
fn an_eu_seller_must_be_identified() {
    let nobody = seller("NL", Some(" "));
    let error = at(&nobody, &buyer("NL", "", None)).expect_err("refused");
    assert_eq!(error, TaxError::SellerNumberMissing);
    assert_eq!(error.fields(), ["seller_vat_number", "seller_tax_number"]);
    for field in error.fields() {
        assert!(error.to_string().contains(&field), "{field}");
    }
    let silent = Seller { tax_number: Some("T1".into()), ..nobody };
    assert_eq!(at(&silent, &buyer("DE", "", Some(DE))), Err(TaxError::SmallBusinessNoteMissing));
    let unknown = at(&seller("NL", Some(NL)), &buyer("ZZ", "", None)).expect_err("refused");
    assert_eq!(unknown.fields(), ["country_code"]);
    let unknown = at(&seller("", Some(NL)), &buyer("NL", "", None)).expect_err("refused");
    assert_eq!(unknown.fields(), ["seller_country_code"]);
}

#[test]
fn a_rate_of_its_own_counts_only_where_tax_is_due() {
    let nl = seller("NL", Some(NL));
    let home = buyer("NL", "", None);
    let rates = |buyer: &Buyer, rate: &str| ask(&nl, buyer, &[Request::Rate(d(rate))]);
    let reduced = rates(&home, "9.00").expect("decided").remove(0);
    assert_eq!(
        (reduced.category, reduced.label.as_str(), reduced.rule),
        (Category::Standard, "VAT 9.00%", Rule::Domestic)
    );
    let error = rates(&home, "10").expect_err("refused");
    assert_eq!(error, TaxError::IllegalRate { line: 0, country: EuCountry::Nl, rate: d("10"), day: day() });
    assert_eq!(error.fields(), ["line_items[0].tax_rate"]);
    assert!(matches!(rates(&home, "0"), Err(TaxError::RateDoesNotFit { .. })));
    assert_eq!(
        rates(&buyer("DE", "", Some(DE)), "10").map(|lines| lines[0].category),
        Ok(Category::ReverseCharge)
    );
    assert_eq!(rates(&buyer("US", "", None), "10").map(|lines| lines[0].rate), Ok(d("0")));
    let oss = Seller { oss_registered: true, ..nl.clone() };
    let fi = ask(&oss, &buyer("FI", "00100", None), &[Request::Rate(d("13.5"))]).expect("decided").remove(0);
    assert_eq!((fi.scheme, fi.taxing_country, fi.rate), (Scheme::Oss, Some(EuCountry::Fi), d("13.5")));
}

#[test]
fn a_category_of_its_own_must_fit() {
    let nl = seller("NL", Some(NL));
    let (home, business) = (buyer("NL", "", None), buyer("DE", "", Some(DE)));
    let one = |seller: &Seller, buyer: &Buyer, category: Category, rate: Option<&str>| {
        ask(seller, buyer, &[Request::Category(category, rate.map(d))]).map(|mut lines| lines.remove(0))
    };
    let standard = one(&nl, &business, Category::Standard, None).expect("decided");
    assert_eq!(
        (standard.rate, standard.taxing_country, standard.rule),
        (d("21"), Some(EuCountry::Nl), Rule::Requested)
    );
    assert_eq!(one(&nl, &home, Category::Standard, Some("9")).map(|line| line.rate), Ok(d("9")));
    assert!(matches!(one(&nl, &home, Category::Standard, Some("0")), Err(TaxError::RateDoesNotFit { .. })));
    assert!(matches!(one(&nl, &home, Category::Standard, Some("8")), Err(TaxError::IllegalRate { .. })));
    for category in [Category::Exempt, Category::ZeroRated, Category::Export, Category::OutsideScope] {
        let decision = one(&nl, &home, category, Some("0.00")).expect("decided");
        assert_eq!((decision.category, decision.rate, decision.taxing_country), (category, d("0"), None));
        assert!(
            matches!(one(&nl, &home, category, Some("9")), Err(TaxError::RateDoesNotFit { .. })),
            "{category}"
        );
    }
    assert_eq!(
        one(&nl, &home, Category::IntraCommunity, None),
        Err(TaxError::CategoryRefused { line: 0, category: Category::IntraCommunity })
    );
    let error = one(&nl, &home, Category::ReverseCharge, None).expect_err("refused");
    assert_eq!(error.fields(), ["is_business", "vat_number", "country_code"]);
    assert_eq!(
        one(&nl, &business, Category::ReverseCharge, None).map(|line| line.category),
        Ok(Category::ReverseCharge)
    );
    let small = Seller {
        tax_number: Some("T1".into()),
        small_business_note: Some("KOR".into()),
        ..seller("NL", None)
    };
    for category in [Category::ReverseCharge, Category::Export, Category::Standard] {
        assert_eq!(
            one(&small, &business, category, None),
            Err(TaxError::SellerVatNumberMissing { line: 0, category })
        );
    }
    assert_eq!(one(&small, &home, Category::Exempt, None).map(|line| line.note), Ok(Some("KOR".into())));
    assert!(matches!(
        one(&seller("US", None), &home, Category::Standard, None),
        Err(TaxError::CategoryRefused { .. })
    ));
    assert_eq!(
        one(&seller("NL", None), &home, Category::ZeroRated, None),
        Err(TaxError::SellerNumberMissing)
    );
    assert_eq!(one(&nl, &home, Category::OutsideScope, None).map(|line| line.printed_rate()), Ok(None));
}

#[test]
fn outside_the_scope_stands_alone() {
    let (nl, home) = (seller("NL", Some(NL)), buyer("NL", "", None));
    let outside = Request::Category(Category::OutsideScope, None);
    assert_eq!(
        ask(&nl, &home, &[Request::Auto, Request::Auto, outside.clone()]),
        Err(TaxError::OutsideScopeMixed { line: 2 })
    );
    assert_eq!(
        ask(&nl, &home, &[outside.clone(), Request::Auto]),
        Err(TaxError::OutsideScopeMixed { line: 1 })
    );
    let lines = [LineRequest { tax_point: day(), request: outside }];
    assert!(decide(&nl, &home, &lines, &Rates::published()).expect("decided").is_outside_scope());
    let mixed = ask(&nl, &home, &[Request::Auto, Request::Category(Category::Exempt, None)]);
    assert_eq!(mixed.map(|lines| lines.len()), Ok(2), "other categories may mix");
    assert!(mixes_outside_scope([Category::Standard, Category::OutsideScope]));
    assert!(!mixes_outside_scope([Category::OutsideScope; 2]) && !mixes_outside_scope([]));
}

#[test]
fn a_credit_line_keeps_the_tax_of_what_it_reverses() {
    let nl = seller("NL", Some(NL));
    let before = at(&nl, &buyer("NL", "", None)).expect("decided");
    let moved = buyer("DE", "", Some(DE));
    let lines =
        ask(&nl, &moved, &[Request::Auto, Request::Reverses(Box::new(before.clone()))]).expect("decided");
    assert_eq!(lines[0].category, Category::ReverseCharge);
    assert_eq!(lines[1], before);
    let json = serde_json::to_string(&before).expect("json");
    assert_eq!(serde_json::from_str::<Decision>(&json).ok(), Some(before));
    assert_eq!(Request::of(None, None), Request::Auto);
    assert_eq!(Request::of(Some(d("9")), None), Request::Rate(d("9")));
    assert_eq!(Request::of(None, Some(Category::Exempt)), Request::Category(Category::Exempt, None));
}

#[test]
fn each_line_has_its_own_tax_point() {
    let lines = ["2025-06-30", "2025-07-01"]
        .map(|day| LineRequest { tax_point: day.parse().expect("a date"), request: Request::Auto });
    let ee = seller("EE", Some("EE100594102"));
    let decided = decide(&ee, &buyer("EE", "", None), &lines, &Rates::published()).expect("decided");
    assert_eq!(decided.lines.iter().map(|line| line.rate.to_string()).collect::<Vec<_>>(), ["22", "24"]);
    let old = "2015-12-31".parse().expect("a date");
    let error = decide_at(&ee, &buyer("EE", "", None), old, &Rates::published()).expect_err("refused");
    assert_eq!(error, TaxError::NoRate { country: EuCountry::Ee, day: old });
}

fn any_party() -> impl Strategy<Value = (String, Option<String>)> {
    let countries = ["NL", "DE", "FR", "MC", "GR", "EL", "FI", "GB", "XI", "US", "RE"];
    let numbers = [None, Some(NL), Some(DE), Some(FR), Some(EL), Some("DE1"), Some("XI110305878")];
    (prop::sample::select(countries.to_vec()), prop::sample::select(numbers.to_vec()))
        .prop_map(|(country, number)| (country.to_owned(), number.map(str::to_owned)))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn every_decision_is_coherent(seller in any_party(), buyer in any_party(), business in any::<bool>(), exempt in any::<bool>(),
                                  oss in any::<bool>(), tax_number in any::<bool>(), status in prop::sample::select(VatStatus::ALL.to_vec()),
                                  request in prop::sample::select(Category::ALL.to_vec()), ask_for in any::<bool>()) {
        let seller = Seller {
            country_code: seller.0, vat_number: seller.1, oss_registered: oss,
            tax_number: tax_number.then(|| "T1".to_owned()), small_business_note: Some("small".into()), ..Seller::default()
        };
        let buyer = Buyer {
            country_code: buyer.0, postal_code: String::new(), is_business: business, vat_number: buyer.1,
            vat_status: status, tax_exempt: exempt, tax_exempt_reason: None,
        };
        let request = if ask_for { Request::Category(request, None) } else { Request::Auto };
        match ask(&seller, &buyer, &[request]) {
            Ok(lines) => {
                let line = &lines[0];
                prop_assert_ne!(line.category, Category::IntraCommunity);
                prop_assert_eq!(Decimal::ZERO < line.rate, line.category == Category::Standard);
                prop_assert_eq!(line.taxing_country.is_some(), line.category == Category::Standard);
                prop_assert_eq!(line.scheme == Scheme::None, line.category != Category::Standard);
                let needs_reason = !matches!(line.category, Category::Standard | Category::ZeroRated);
                prop_assert_eq!(line.exemption_reason.is_some(), needs_reason);
                if matches!(line.category, Category::Standard | Category::ReverseCharge | Category::Export) {
                    prop_assert!(seller.vat_number.is_some());
                }
                if line.category == Category::ReverseCharge {
                    prop_assert!(business && status != VatStatus::Invalid && seller.country_code != buyer.country_code);
                }
                if matches!(line.category, Category::Exempt | Category::ZeroRated) {
                    prop_assert!(seller.vat_number.is_some() || tax_number);
                }
            }
            Err(error) => prop_assert!(!error.fields().is_empty()),
        }
    }
}
