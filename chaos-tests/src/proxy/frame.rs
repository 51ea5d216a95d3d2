//! Where a message of the Redis protocol ends. Pure.

use anyhow::{Context, Result, bail};

/// The length of the message that the bytes begin with; `None` while it is not all there.
///
/// # Errors
/// If this is not RESP.
pub(super) fn length(bytes: &[u8]) -> Result<Option<usize>> {
    let mut at = 0;
    let mut parts = 1_usize;
    while parts > 0 {
        let Some((kind, line, next)) = line(bytes, at)? else { return Ok(None) };
        at = next;
        parts -= 1;
        match kind {
            b'+' | b'-' | b':' | b'_' | b',' | b'#' | b'(' => {}
            b'$' | b'!' | b'=' => {
                if let Some(length) = count(line)? {
                    at += length + 2;
                }
            }
            b'*' | b'~' | b'>' => parts += count(line)?.unwrap_or(0),
            b'%' => parts += 2 * count(line)?.unwrap_or(0),
            // Attributes go before the message that they are about.
            b'|' => parts += 2 * count(line)?.unwrap_or(0) + 1,
            other => bail!("not RESP: a message begins with {:?}", char::from(other)),
        }
    }
    Ok((at <= bytes.len()).then_some(at))
}

/// Whether a message was sent unasked.
pub(super) fn is_push(message: &[u8]) -> bool {
    message.first() == Some(&b'>')
}

/// The words of a request.
///
/// # Errors
/// If it is not an array of strings.
pub(super) fn words(request: &[u8]) -> Result<Vec<Vec<u8>>> {
    let Some((b'*', head, mut at)) = line(request, 0)? else { bail!("a request is an array") };
    let mut words = Vec::new();
    for _ in 0..count(head)?.unwrap_or(0) {
        let Some((b'$', head, next)) = line(request, at)? else { bail!("a request's words are strings") };
        let end = next + count(head)?.context("a word is no null")?;
        words.push(request.get(next..end).context("a word ends with its request")?.to_vec());
        at = end + 2;
    }
    Ok(words)
}

/// Kind, rest, and the beginning of what follows, of the line at a place.
fn line(bytes: &[u8], at: usize) -> Result<Option<(u8, &[u8], usize)>> {
    let Some((&kind, rest)) = bytes.get(at..).and_then(<[u8]>::split_first) else { return Ok(None) };
    let Some(end) = rest.windows(2).position(|pair| pair == b"\r\n") else { return Ok(None) };
    Ok(Some((kind, &rest[..end], at + 1 + end + 2)))
}

/// A length; `None` for that of a null.
fn count(line: &[u8]) -> Result<Option<usize>> {
    let number: i64 = std::str::from_utf8(line)?.parse().context("not RESP: a length is a number")?;
    Ok(usize::try_from(number).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_ends_where_its_last_part_does() {
        let whole: &[&[u8]] = &[
            b"+OK\r\n",
            b"$3\r\n\r\n\r\r\n",
            b"$-1\r\n",
            b"*2\r\n$1\r\na\r\n*1\r\n:1\r\n",
            b"*-1\r\n",
            b"%1\r\n+a\r\n~1\r\n_\r\n",
            b"|1\r\n+a\r\n+b\r\n*1\r\n,1.5\r\n",
        ];
        for &message in whole {
            let followed = [message, b"+next\r\n"].concat();
            assert_eq!(length(&followed).ok(), Some(Some(message.len())));
            for cut in 0..message.len() {
                assert_eq!(length(&message[..cut]).ok(), Some(None), "{cut} bytes of {message:?}");
            }
        }
    }

    #[test]
    fn what_is_not_resp_is_refused() {
        assert!(length(b"PING\r\n").is_err());
        assert!(length(b"$x\r\n").is_err());
    }

    #[test]
    fn a_request_is_read_as_words() {
        let request = b"*2\r\n$3\r\nGET\r\n$4\r\na\r\nb\r\n";
        assert_eq!(words(request).ok(), Some(vec![b"GET".to_vec(), b"a\r\nb".to_vec()]));
        assert!(words(b"+GET\r\n").is_err());
    }
}
