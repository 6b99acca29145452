//! Codes of an authenticator app (S1.4; RFC 6238): SHA-1, 6 digits, 30 seconds, the only values that
//! every app understands. A code of the step before or after is taken too, for clocks that differ,
//! and each code once.

use crate::method::{self, Method, TurnedOn};
use crate::{otp, trail, user};
use aws_lc_rs::rand;
use db::Tx;
use kernel::{Code, Error, Result};
use qrcodegen::{QrCode, QrCodeEcc};
use totp_rs::{Algorithm, Builder, Totp};
use uuid::Uuid;

/// Who the codes are for, as the app shows it.
const ISSUER: &str = "M3CRM";
/// As long as SHA-1's output, as RFC 4226 recommends.
const SECRET_BYTES: usize = 20;
/// Clocks may differ by one step.
const SKEW_STEPS: u16 = 1;
/// Pixels a module of the QR code has, and modules of white around it.
const SCALE: i32 = 6;
const MARGIN: i32 = 4;

const SET_UP: &str = "WITH made AS (
        INSERT INTO totp_secrets (tenant_id, user_id, secret_sealed, created_at) VALUES ($1, $2, $3, $4)
        ON CONFLICT (tenant_id, user_id) DO UPDATE
        SET secret_sealed = excluded.secret_sealed, last_step = 0, created_at = excluded.created_at
        WHERE totp_secrets.confirmed_at IS NULL RETURNING user_id)
    SELECT u.email FROM made JOIN users u ON u.tenant_id = $1 AND u.id = made.user_id";
const PENDING: &str =
    "SELECT secret_sealed FROM totp_secrets WHERE tenant_id = $1 AND user_id = $2 AND confirmed_at IS NULL";
const CONFIRM: &str = "UPDATE totp_secrets SET confirmed_at = $4, last_step = $5
    WHERE tenant_id = $1 AND user_id = $2 AND secret_sealed = $3 AND confirmed_at IS NULL RETURNING user_id";
const ACTIVE: &str = "SELECT secret_sealed FROM totp_secrets WHERE tenant_id = $1 AND user_id = $2 AND confirmed_at IS NOT NULL";
const ACCEPT: &str = "UPDATE totp_secrets SET last_step = $3
    WHERE tenant_id = $1 AND user_id = $2 AND last_step < $3 AND confirmed_at IS NOT NULL RETURNING user_id";

/// What an authenticator app needs to know.
#[derive(Clone, Debug)]
pub struct Setup {
    /// `otpauth://totp/M3CRM:<e-mail>?secret=…&issuer=M3CRM`.
    pub otpauth_url: String,
    /// The secret in base32, for those who can't scan.
    pub secret: String,
    /// The URL as a QR code, in PNG.
    pub qr_png: Vec<u8>,
}

/// Makes a new secret for the user. It counts for nothing until [`confirm`]; a former one that was
/// not confirmed is replaced.
///
/// # Errors
/// 409 when an authenticator is in use: it has to be disabled first.
pub async fn set_up(tx: &Tx, user_id: Uuid) -> Result<Setup> {
    let mut secret = [0; SECRET_BYTES];
    rand::fill(&mut secret).map_err(|_| Error::internal("no randomness"))?;
    let (tenant, now) = (tx.tenant().0, tx.clock().now());
    let sealed = tx.sealer().seal(&context(tx, user_id), &secret)?.0;
    let row = tx.query_opt(SET_UP, &[&tenant, &user_id, &sealed, &now]).await?;
    let in_use = || {
        Error::new(
            Code::Conflict,
            "An authenticator app is in use; disable it first.",
        )
    };
    let email: String = row.ok_or_else(in_use)?.get(0);
    trail::note(tx, user_id, "twofa.setup_started", &trail::nothing()).await?;
    let totp = totp(secret.to_vec(), &email)?;
    let otpauth_url = totp
        .to_url()
        .map_err(|error| Error::internal(error.to_string()))?;
    Ok(Setup {
        secret: totp.secret().to_base32(),
        qr_png: qr_png(&otpauth_url)?,
        otpauth_url,
    })
}

/// Takes the secret of the last [`set_up`] into use. `None` when the code is not one of it, or there
/// is none that waits.
///
/// # Errors
/// As [`Tx::query`].
pub async fn confirm(tx: &Tx, user_id: Uuid, code: &str) -> Result<Option<TurnedOn>> {
    let (tenant, now) = (tx.tenant().0, tx.clock().now());
    user::take(tx, user_id).await?;
    let Some(row) = tx.query_opt(PENDING, &[&tenant, &user_id]).await? else {
        return Ok(None);
    };
    let sealed: &[u8] = row.get(0);
    let Some(step) = step_of(tx, user_id, sealed, code)? else {
        return Ok(None);
    };
    let confirmed = tx
        .query_opt(CONFIRM, &[&tenant, &user_id, &sealed, &now, &step])
        .await?;
    if confirmed.is_none() {
        return Ok(None);
    }
    method::add(tx, user_id, Method::Totp).await.map(Some)
}

/// Accepts a code of the authenticator in use, once: of parallel requests with one code, one is true.
///
/// # Errors
/// As [`Tx::query`].
pub(crate) async fn accept(tx: &Tx, user_id: Uuid, code: &str) -> Result<bool> {
    let tenant = tx.tenant().0;
    let Some(row) = tx.query_opt(ACTIVE, &[&tenant, &user_id]).await? else {
        return Ok(false);
    };
    let Some(step) = step_of(tx, user_id, row.get(0), code)? else {
        return Ok(false);
    };
    let accepted = tx.query_opt(ACCEPT, &[&tenant, &user_id, &step]).await?;
    Ok(accepted.is_some())
}

/// The step that a code is of.
fn step_of(tx: &Tx, user_id: Uuid, sealed: &[u8], code: &str) -> Result<Option<i64>> {
    let secret = tx.sealer().open(&context(tx, user_id), sealed)?;
    let now = u64::try_from(tx.clock().now().as_second()).unwrap_or(0);
    let step = totp(secret, "-")?.check(&otp::digits(code), now);
    step.map(|step| i64::try_from(step).map_err(Error::internal))
        .transpose()
}

fn totp(secret: Vec<u8>, email: &str) -> Result<Totp> {
    Builder::new()
        .with_algorithm(Algorithm::SHA1)
        .with_skew(SKEW_STEPS)
        .with_secret(secret)
        // A colon would end the issuer's name in the label.
        .with_account_name(email.replace(':', "_"))
        .with_issuer(Some(ISSUER))
        .build()
        .map_err(|error| Error::internal(error.to_string()))
}

fn context(tx: &Tx, user_id: Uuid) -> String {
    format!("{}/totp_secrets.secret/{user_id}", tx.tenant())
}

/// Black on white, one byte a pixel.
fn qr_png(text: &str) -> Result<Vec<u8>> {
    let code = QrCode::encode_text(text, QrCodeEcc::Medium).map_err(Error::internal)?;
    let side = (code.size() + 2 * MARGIN) * SCALE;
    let module = |pixel: i32| pixel / SCALE - MARGIN;
    let shade = |x, y| {
        if code.get_module(module(x), module(y)) {
            0
        } else {
            255
        }
    };
    let pixels: Vec<u8> = (0..side)
        .flat_map(|y| (0..side).map(move |x| shade(x, y)))
        .collect();
    let mut png = Vec::new();
    let side = side.unsigned_abs();
    let mut encoder = png::Encoder::new(&mut png, side, side);
    encoder.set_color(png::ColorType::Grayscale);
    let mut writer = encoder.write_header().map_err(Error::internal)?;
    writer.write_image_data(&pixels).map_err(Error::internal)?;
    writer.finish().map_err(Error::internal)?;
    Ok(png)
}

#[cfg(test)]
mod tests {
    use super::*;

    const RFC_KEY: &[u8] = b"12345678901234567890";

    /// RFC 4226, appendix D: the codes of the first ten counters.
    #[test]
    fn agrees_with_rfc_4226() {
        let totp = totp(RFC_KEY.to_vec(), "a@b.c").unwrap();
        for (counter, code) in [
            "755224", "287082", "359152", "969429", "338314", "254676", "287922", "162583", "399871",
            "520489",
        ]
        .into_iter()
        .enumerate()
        {
            assert_eq!(totp.generate(counter as u64 * 30).to_string(), code);
        }
    }

    /// RFC 6238, appendix B: 8 digits, SHA-1.
    #[test]
    fn agrees_with_rfc_6238() {
        let totp = Builder::new()
            .with_digits(8)
            .with_secret(RFC_KEY.to_vec())
            .with_account_name("a@b.c")
            .build()
            .unwrap();
        for (time, code) in [
            (59, "94287082"),
            (1_111_111_109, "07081804"),
            (1_111_111_111, "14050471"),
            (1_234_567_890, "89005924"),
            (2_000_000_000, "69279037"),
            (20_000_000_000, "65353130"),
        ] {
            assert_eq!(totp.generate(time).to_string(), code);
        }
    }

    #[test]
    fn a_code_is_taken_one_step_early_or_late_and_no_more() {
        let totp = totp(RFC_KEY.to_vec(), "a@b.c").unwrap();
        let now = 1_700_000_010;
        for (offset, taken) in [(-60, false), (-30, true), (0, true), (30, true), (60, false)] {
            let at = now + offset;
            let code = totp.generate(u64::try_from(at).unwrap()).to_string();
            let step = totp.check(&code, u64::try_from(now).unwrap());
            assert_eq!(step, taken.then(|| u64::try_from(at).unwrap() / 30), "{offset}");
        }
    }

    #[test]
    fn the_url_names_issuer_and_account_and_nothing_can_break_out() {
        let url = totp(RFC_KEY.to_vec(), "owner+x@acme.example")
            .unwrap()
            .to_url()
            .unwrap();
        assert_eq!(
            url,
            "otpauth://totp/M3CRM:owner%2Bx%40acme.example?secret=GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ&issuer=M3CRM"
        );
        assert!(
            totp(RFC_KEY.to_vec(), "\"a:b&c\"@x.example")
                .unwrap()
                .to_url()
                .is_ok()
        );
    }

    #[test]
    fn the_picture_is_a_square_png() {
        let png = qr_png("otpauth://totp/M3CRM:a%40b.c?secret=GEZDGNBVGY3TQOJQ&issuer=M3CRM").unwrap();
        let mut reader = png::Decoder::new(std::io::Cursor::new(&png)).read_info().unwrap();
        let (width, height) = reader.info().size();
        assert_eq!(width, height);
        let mut pixels = vec![0; reader.output_buffer_size().unwrap()];
        reader.next_frame(&mut pixels).unwrap();
        assert_eq!(pixels[0], 255, "white around");
        let margin = u32::try_from(MARGIN * SCALE).unwrap();
        assert_eq!(
            pixels[(margin * width + margin) as usize],
            0,
            "the corner of a finder"
        );
        assert!(png.len() < 8_000, "{}", png.len());
    }
}
