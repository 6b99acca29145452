use super::super::{Channel, CodeUse, Uuid};
use super::*;

const URL: &str = "https://app.example/verify?token=m3v_abc&x=1";

fn every() -> Vec<Notice> {
    let text = |text: &str| text.to_owned();
    let mut notices = vec![
        Notice::VerifyEmail { url: text(URL) },
        Notice::ResetPassword { url: text(URL) },
        Notice::PasswordChanged,
        Notice::Invite {
            url: text(URL),
            tenant_name: text("Nile Homes"),
            inviter: text("Mona Ali"),
            inviter_id: None,
        },
        Notice::InviteSent {
            user_id: Uuid::nil(),
            name: text("Basma"),
        },
        Notice::InvitesSent { count: 12 },
        Notice::InviteAccepted {
            user_id: Uuid::nil(),
            name: text("Basma"),
        },
        Notice::Otp {
            code: text("493027"),
            minutes: 10,
            tenant_name: text("Nile Homes"),
            purpose: CodeUse::VerifyPhone,
        },
        Notice::CodeSent {
            channel: Channel::Sms,
        },
        Notice::AccountSuspended,
        Notice::AccountReactivated,
        Notice::AccountDeactivated,
        Notice::SeatLimitReached { limit: 7 },
        Notice::CompanyClosed {
            last_day: text("2026-12-21"),
        },
        Notice::LockedOut,
        Notice::SecondFactorOn { method: "totp" },
        Notice::SecondFactorOff { method: "sms" },
        Notice::SecondFactorsReset,
        Notice::IdentityLinked {
            provider: text("google"),
        },
        Notice::PhoneChanged {
            phone_masked: text("+20********67"),
        },
    ];
    notices.extend(approvals());
    notices
}

fn approvals() -> Vec<Notice> {
    let text = |text: &str| text.to_owned();
    vec![
        Notice::ApprovalRequested {
            title: text("Discount"),
            url: text(URL),
        },
        Notice::ApprovalReminder {
            title: text("Discount"),
            url: text(URL),
        },
        Notice::ApprovalEscalated {
            title: text("Discount"),
            url: text(URL),
        },
        Notice::ApprovalDecided {
            title: text("Discount"),
            decision: text("approved"),
            url: text(URL),
        },
        Notice::ApprovalFailed {
            title: text("Discount"),
            reason: text("The unit was sold."),
            url: text(URL),
        },
        Notice::ApprovalWithdrawn {
            title: text("Discount"),
            url: text(URL),
        },
    ]
}

fn english(notice: &Notice) -> Words {
    Words::of(notice, Language::English, true).unwrap()
}

#[test]
fn every_notice_has_words_in_every_language_and_says_what_it_carries() {
    for notice in every() {
        for language in [Language::English, Language::Arabic] {
            let words = Words::of(&notice, language, true).unwrap();
            let (text, html) = (words.text(), words.html().unwrap());
            let arabic = words
                .subject
                .chars()
                .any(|c| ('\u{600}'..='\u{6ff}').contains(&c));
            assert_eq!(arabic, language == Language::Arabic, "{}", words.subject);
            assert!(
                !words.short.is_empty() && words.short.chars().count() < 300,
                "{}",
                words.short
            );
            assert!(html.contains(&format!(
                "lang=\"{}\" dir=\"{}\"",
                language.code(),
                language.direction()
            )));
            if notice.url().is_some() {
                assert!(text.contains(URL) && words.short.contains(URL) && words.action.is_some());
                assert!(
                    html.contains("href=\"https://app.example/verify?token=m3v_abc&amp;x=1\""),
                    "{html}"
                );
            }
            if let Some(code) = notice.code() {
                assert!(text.contains(code) && html.contains(code) && words.short.contains(code));
            }
            for left in ["{{", "{%", "undefined", ">none<"] {
                assert!(
                    !html.contains(left) && !words.short.contains(left),
                    "{left} in {html}"
                );
            }
        }
    }
}

#[test]
fn what_opens_an_account_is_not_in_what_others_can_read() {
    for notice in every().iter().filter(|notice| notice.opens_an_account()) {
        for language in [Language::English, Language::Arabic] {
            let words = Words::of(notice, language, false).unwrap();
            let all = [
                &words.subject,
                &words.inbox,
                &words.short,
                &words.text(),
                &words.html().unwrap(),
            ]
            .map(String::as_str)
            .join("\n");
            assert!(!all.contains("m3v_abc") && !all.contains("493027"), "{all}");
            assert!(words.url.is_none() && !words.inbox.contains("  ") && !words.inbox.ends_with(':'));
        }
    }
}

#[test]
fn a_name_is_text_and_never_markup_a_header_or_a_change_of_direction() {
    let hostile = "<script>alert(1)</script>\"'&\r\nBcc: all@example.com\u{202e}gpj.exe\0";
    let words = english(&Notice::Invite {
        url: URL.to_owned(),
        tenant_name: hostile.to_owned(),
        inviter: "{{ url }}{% include 'x' %}".to_owned(),
        inviter_id: None,
    });
    let html = words.html().unwrap();
    assert!(
        !html.contains("<script") && html.contains("&lt;script&gt;"),
        "{html}"
    );
    for text in [&words.subject, &words.short, &words.inbox, &words.text(), &html] {
        assert!(!text.contains(['\r', '\0', '\u{202e}']), "{text:?}");
    }
    for line in [&words.subject, &words.short, &words.inbox] {
        assert!(!line.contains('\n'), "{line:?}");
    }
    // What somebody typed is a value, and not a template.
    assert!(
        words
            .subject
            .starts_with("{{ url }}{% include 'x' %} invites you to <script>")
    );
}

#[test]
fn long_names_are_cut() {
    let words = english(&Notice::InviteAccepted {
        user_id: Uuid::nil(),
        name: "م".repeat(10_000),
    });
    assert!(words.subject.chars().count() <= MAX_SUBJECT && words.subject.contains('…'));
    assert!(words.text().chars().count() < 300);
}

#[test]
fn a_link_that_is_none_is_refused() {
    for url in [
        "javascript:alert(1)",
        "https://a.example/\" onclick=\"x",
        "https://a.example/\r\nX: y",
        "",
        "https://a b",
    ] {
        let notice = Notice::VerifyEmail { url: url.to_owned() };
        assert!(Words::of(&notice, Language::English, true).is_err(), "{url:?}");
    }
}

#[test]
fn a_locale_without_templates_is_english() {
    for (locale, language) in [
        ("ar", Language::Arabic),
        ("ar_EG", Language::Arabic),
        ("AR-kw", Language::Arabic),
        ("en", Language::English),
        ("fr", Language::English),
        ("", Language::English),
        ("arn", Language::English),
    ] {
        assert_eq!(Language::of(locale), language, "{locale}");
    }
}

#[test]
fn a_second_factor_is_called_by_its_name_and_a_phone_by_its_last_digits() {
    for (method, said) in [
        ("totp", "authenticator app"),
        ("sms", "by SMS"),
        ("whatsapp", "by WhatsApp"),
    ] {
        for notice in [
            Notice::SecondFactorOn { method },
            Notice::SecondFactorOff { method },
        ] {
            let text = english(&notice).text();
            assert!(text.contains(said), "{text}");
        }
    }
    let phone_masked = "+20********67".to_owned();
    let words = english(&Notice::PhoneChanged { phone_masked });
    assert!(words.text().contains("+20********67") && words.inbox.contains("+20********67"));
}

#[test]
fn arabic_counts_minutes_as_arabic_does() {
    for (minutes, expected) in [
        (1, "دقيقة واحدة"),
        (2, "دقيقتين"),
        (10, "10 دقائق"),
        (15, "15 دقيقة"),
    ] {
        let notice = Notice::Otp {
            code: "1".to_owned(),
            minutes,
            tenant_name: "Nile Homes".to_owned(),
            purpose: CodeUse::LogIn,
        };
        let words = Words::of(&notice, Language::Arabic, true).unwrap();
        assert!(words.short.contains(expected), "{}", words.short);
    }
}

#[test]
fn a_code_says_what_it_is_for_and_at_which_company_and_links_nowhere() {
    let otp = |purpose, tenant_name: &str| Notice::Otp {
        code: "493027".to_owned(),
        minutes: 5,
        tenant_name: tenant_name.to_owned(),
        purpose,
    };
    for (purpose, in_english, in_arabic) in [
        (
            CodeUse::VerifyPhone,
            "verify your phone at Nile Homes",
            "لتوثيق هاتفك لدى Nile Homes",
        ),
        (
            CodeUse::LogIn,
            "log in to Nile Homes",
            "لتسجيل الدخول إلى حسابك لدى Nile Homes",
        ),
    ] {
        let notice = otp(purpose, "Nile Homes");
        for (language, said) in [(Language::English, in_english), (Language::Arabic, in_arabic)] {
            let words = Words::of(&notice, language, true).unwrap();
            assert!(
                words.short.contains(said) && words.text().contains(said),
                "{}",
                words.short
            );
        }
    }
    // Anybody may give a company a name and type somebody's number.
    let long = "You won, collect at https://evil.example/x?y=1 or mail me@evil.example within the hour";
    let short = english(&otp(CodeUse::VerifyPhone, long)).short;
    assert!(
        !short.contains("evil.example") && !short.contains('/') && !short.contains('@'),
        "{short}"
    );
    assert!(short.is_ascii() || short.contains('…'));
    assert!(short.chars().count() <= 160, "{short}");
}
