//! The fence token as it lies in Redis.
//!
//! Decimals of fixed width, so that the script can compare tokens as text: Lua's numbers are doubles, and
//! neighbouring epochs would be equal to it.
//!
//! ```text
//! 00000001099511627777.0000000001.00000000000000000042.<cluster, 32 hex>.<incarnation, 32 hex>
//! epoch                session    batch
//! ```

use crate::journal::{Claim, Epoch, Token, Writer};

const EPOCH: usize = 20;
const SESSION: usize = 10;
const BATCH: usize = 20;
const WRITER: usize = 32;

/// As text.
pub(crate) fn encode(token: &Token) -> String {
    format!(
        "{:0EPOCH$}.{:0SESSION$}.{:0BATCH$}.{:0WRITER$x}.{:0WRITER$x}",
        token.claim.epoch.0, token.claim.session, token.batch, token.writer.cluster, token.writer.incarnation,
    )
}

/// From text; `None` if it is none.
pub(crate) fn decode(text: &[u8]) -> Option<Token> {
    let text = std::str::from_utf8(text).ok()?;
    let mut parts = text.split('.');
    let mut part = |width: usize| {
        parts.next().filter(|part| part.len() == width && part.bytes().all(|byte| byte.is_ascii_hexdigit()))
    };
    let token = Token {
        claim: Claim { epoch: Epoch(part(EPOCH)?.parse().ok()?), session: part(SESSION)?.parse().ok()? },
        batch: part(BATCH)?.parse().ok()?,
        writer: Writer {
            cluster: u128::from_str_radix(part(WRITER)?, 16).ok()?,
            incarnation: u128::from_str_radix(part(WRITER)?, 16).ok()?,
        },
    };
    parts.next().is_none().then_some(token)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(epoch: u64, session: u32, batch: u64) -> Token {
        Token {
            claim: Claim { epoch: Epoch(epoch), session },
            batch,
            writer: Writer { cluster: 0xc1, incarnation: u128::MAX },
        }
    }

    #[test]
    fn a_token_reads_back() {
        for token in [token(0, 0, 0), token(u64::MAX, u32::MAX, u64::MAX), token(1 << 40 | 7, 3, 42)] {
            assert_eq!(decode(encode(&token).as_bytes()), Some(token));
        }
        assert_eq!(
            encode(&token(1 << 40 | 1, 1, 42)),
            "00000001099511627777.0000000001.00000000000000000042.\
             000000000000000000000000000000c1.ffffffffffffffffffffffffffffffff"
        );
    }

    #[test]
    fn text_is_ordered_as_tokens_are() {
        let mut tokens = [
            token(1, 1, 9),
            token(1, 2, 0),
            token(2, 1, 0),
            token(1 << 63, 1, 0),
            token((1 << 63) + 1, 1, 0),
        ];
        tokens.reverse();
        let mut texts: Vec<String> = tokens.iter().map(encode).collect();
        texts.sort();
        tokens.sort_by_key(|token| (token.claim, token.batch));
        assert_eq!(texts, tokens.iter().map(encode).collect::<Vec<_>>());
    }

    #[test]
    fn other_text_is_no_token() {
        let whole = encode(&token(1, 2, 3));
        for bad in
            ["", "7", &whole[1..], &format!("{whole}.0"), &whole.replace('0', "+"), &whole.replace('.', ",")]
        {
            assert_eq!(decode(bad.as_bytes()), None, "{bad}");
        }
    }
}
