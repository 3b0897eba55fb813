use super::*;
use crate::control::socket::Local;
use async_std::task::block_on;

#[test]
fn the_socket_is_for_owner_and_group_and_goes_with_its_daemon() {
    block_on(async {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("c.sock");
        let listener = ControlListener::bind(&path, &Sockets::default()).unwrap();
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o7777, MODE);
        drop(listener);
        assert!(!path.exists());
    });
}

#[test]
fn a_living_daemon_is_named_and_a_dead_one_replaced() {
    block_on(async {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("c.sock");
        let living = ControlListener::bind(&path, &Sockets::default()).unwrap();
        let error = ControlListener::bind(&path, &Sockets::default()).unwrap_err();
        assert!(matches!(error, BindError::Taken(_)), "{error:?}");
        assert!(
            error.to_string().contains(path.to_str().unwrap()),
            "{error}"
        );
        // `kill -9` leaves this behind: a file without a listener.
        drop(living);
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        assert!(path.exists());
        let next = ControlListener::bind(&path, &Sockets::default()).unwrap();
        UnixStream::connect(&path).unwrap();
        drop(next);
    });
}

#[test]
fn a_folder_that_another_keeps_locked_is_named_and_not_waited_for() {
    block_on(async {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("c.sock");
        let other = File::open(dir.path()).unwrap();
        other.lock().unwrap();
        let error =
            ControlListener::bind_within(&path, &Sockets::default(), LOCK_RETRY).unwrap_err();
        assert!(matches!(error, BindError::Locked { .. }), "{error:?}");
        let text = error.to_string();
        assert!(text.contains(dir.path().to_str().unwrap()), "{text}");
        drop(other);
        ControlListener::bind(&path, &Sockets::default()).unwrap();
    });
}

#[test]
fn what_is_no_socket_is_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("c.sock");
    fs::write(&path, "precious").unwrap();
    let error = ControlListener::bind(&path, &Sockets::default()).unwrap_err();
    assert!(matches!(error, BindError::NotASocket(_)), "{error:?}");
    assert_eq!(fs::read(&path).unwrap(), b"precious");
}

#[test]
fn the_file_of_a_later_daemon_is_not_removed() {
    block_on(async {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("c.sock");
        let early = ControlListener::bind(&path, &Sockets::default()).unwrap();
        fs::remove_file(&path).unwrap();
        let late = ControlListener::bind(&path, &Sockets::default()).unwrap();
        drop(early);
        assert!(path.exists());
        drop(late);
    });
}

#[test]
fn a_file_that_is_lost_is_made_again_and_both_sockets_serve() {
    block_on(async {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("c.sock");
        let mut listener = ControlListener::bind(&path, &Sockets::default()).unwrap();
        let file = listener.file;
        listener.tend().await;
        assert_eq!(listener.file, file);
        // After a rename, the socket can still be reached under the new name.
        let other = dir.path().join("other");
        fs::rename(&path, &other).unwrap();
        listener.tend().await;
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o7777, MODE);
        for path in [&path, &other] {
            let _client = UnixStream::connect(path).unwrap();
            listener.accept().await.unwrap();
        }
        // The listener now owns the new file.
        fs::remove_file(&path).unwrap();
        listener.tend().await;
        UnixStream::connect(&path).unwrap();
        drop(listener);
        assert!(!path.exists());
    });
}

#[test]
fn what_another_puts_in_the_place_of_the_socket_stays() {
    block_on(async {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("c.sock");
        let mut listener = ControlListener::bind(&path, &Sockets::default()).unwrap();
        fs::remove_file(&path).unwrap();
        fs::write(&path, "precious").unwrap();
        listener.tend().await;
        assert!(listener.told);
        listener.tend().await;
        assert_eq!(fs::read(&path).unwrap(), b"precious");
        fs::remove_file(&path).unwrap();
        listener.tend().await;
        UnixStream::connect(&path).unwrap();
        assert!(!listener.told);
        // Without its folder this can only be logged, until the folder exists again.
        fs::remove_dir_all(dir.path()).unwrap();
        listener.tend().await;
        assert!(listener.told);
        fs::create_dir(dir.path()).unwrap();
        listener.tend().await;
        UnixStream::connect(&path).unwrap();
    });
}

/// Returns the listener at `path` as the next process inherits it.
fn handed_over(listener: &UnixListener) -> Sockets {
    let copy = listener.try_clone().unwrap();
    Sockets::new(Default::default(), vec![("x".into(), copy.into())])
}

#[test]
fn an_inherited_socket_serves_who_waited_in_its_backlog() {
    block_on(async {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("c.sock");
        let last = UnixListener::bind(&path).unwrap();
        let waiting: Vec<UnixStream> = (0..5)
            .map(|_| UnixStream::connect(&path).unwrap())
            .collect();
        let sockets = handed_over(&last);
        drop(last);
        let next = ControlListener::bind(&path, &sockets).unwrap();
        let late = UnixStream::connect(&path).unwrap();
        for mut client in waiting.into_iter().chain([late]) {
            let served = next.accept().await.unwrap();
            io::Write::write_all(&mut client, b"x").unwrap();
            let mut byte = [0];
            served.read_shared(&mut byte).await.unwrap();
            assert_eq!(byte, *b"x");
        }
        // A second daemon is refused as usual, and the file is kept.
        let error = ControlListener::bind(&path, &Sockets::default()).unwrap_err();
        assert!(matches!(error, BindError::Taken(_)), "{error:?}");
        drop(next);
        assert!(path.exists());
    });
}

#[test]
fn an_inherited_socket_without_its_file_is_replaced() {
    block_on(async {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("c.sock");
        let last = UnixListener::bind(&path).unwrap();
        let sockets = handed_over(&last);
        fs::remove_file(&path).unwrap();
        drop(ControlListener::bind(&path, &sockets).unwrap());
        // A socket at this path that belongs to another daemon is not used.
        let other = UnixListener::bind(&path).unwrap();
        let error = ControlListener::bind(&path, &handed_over(&last)).unwrap_err();
        assert!(matches!(error, BindError::Taken(_)), "{error:?}");
        drop(other);
    });
}
