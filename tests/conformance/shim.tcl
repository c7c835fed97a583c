# Loaded into the suite's processes after its own procedures, some of which it
# replaces, so that one failure stays one failure. Expectations stay as they are,
# but for what Redis 7.2 changed: names of encodings, words about permissions.

# The suite's helper processes load this too, and know no tests.
if {[info commands test] ne "" && [info commands suite_test] eq ""} {

    # An error reply that a test does not expect is an exception to the suite, and
    # ends the whole file. (Its --durable goes on, but loses errors raised inside a
    # server block within a test, and stops the wrong server after them.) Here any
    # error inside a test fails that test, as a failed assertion does, and the file
    # goes on. Errors outside of tests still end the file.
    rename test suite_test
    proc test {name code {okpattern undefined} {tags {}}} {
        uplevel 1 [list suite_test $name [list errors_as_assertions $code] $okpattern $tags]
    }

    proc errors_as_assertions {code} {
        set status [catch {uplevel 1 $code} value]
        if {$status == 0} {
            return $value
        }
        if {$status == 1 && [string match "assertion:*" $value]} {
            error $value $::errorInfo
        }
        error "assertion:\[exception\] $value\n[string range $::errorInfo 0 2000]"
    }

    # To the suite a server block whose server does not start is an error beside the
    # test that holds the block, which then passes. Here it fails the test.
    proc start_server_error {config_file error} {
        set said [join [lrange [split [string trim $error] "\n"] end-7 end] "\n"]
        set message "server did not start ($config_file), its last words:\n$said"
        if {$::cur_test ne ""} {
            error "assertion:$message"
        }
        send_data_packet $::test_server_fd err $message
    }

    # The suite waits two minutes for the log of a process that is gone.
    # Returns 1 if the port was busy, else 0.
    proc wait_server_started {config_file stdout pid} {
        set stderr [file join [file dirname $stdout] stderr]
        for {set tries 1200} {$tries > 0} {incr tries -1} {
            set alive [is_alive [list pid $pid]]; # Asked before the log is read
            set log [exec cat $stdout]
            if {[regexp -- " PID: $pid" $log]} {
                return 0
            }
            if {[regexp {Failed listening on port} $log]} {
                return 1
            }
            if {!$alive} break
            after 100
        }
        set why [expr {$alive ? "no PID in its log" : "it exited"}]
        start_server_error $config_file "$log\n[exec cat $stderr]\n$why"
        return 0
    }

    # The suite is 7.0's; goredis names encodings as 7.2 does, which has small lists
    # as listpacks where 7.0 has quicklists only, and small sets of other than
    # integers as listpacks where 7.0 has hash tables.
    rename assert_encoding suite_assert_encoding
    proc assert_encoding {enc key} {
        if {!$::ignoreencoding && [r object encoding $key] eq "listpack"} {
            if {"$enc [r type $key]" in {"quicklist list" "hashtable set"}} {
                return
            }
        }
        uplevel 1 [list suite_assert_encoding $enc $key]
    }

    # 7.2 words what ACL rules deny in another way than 7.0. Replies so worded come
    # to the tests in 7.0's words; all that is not about permissions stays as it is.
    proc in_words_of_7_0 {reply} {
        foreach {newer older} {
            {^NOPERM No permissions to access a (key|channel)$}
            {NOPERM this user has no permissions to access one of the \1s used as arguments}
            {^(NOPERM )?User \S+ has no permissions to (run|access) the '(.*)' (command|key|channel)$}
            {\1This user has no permissions to \2 the '\3' \4}
        } {
            if {[regsub $newer $reply $older older_reply]} {
                return $older_reply
            }
        }
        return $reply
    }

    foreach reader {redis_read_line redis_bulk_read} {
        rename ::redis::$reader ::redis::suite_$reader
        proc ::redis::$reader {fd} "::in_words_of_7_0 \[suite_$reader \$fd\]"
    }
}
