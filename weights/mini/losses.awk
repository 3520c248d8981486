# losses.awk - means over seeds, their 95 % intervals and the differences to InfoNCE, from runs.csv of losses.sh.
# Prints lines that begin with the file they belong to: "csv", "text", "svg" or "html".
#
# Interval: mean +- t * sd / sqrt(n), Student's t for n - 1 degrees of freedom.  The difference of two losses is
# taken seed by seed, for runs of one seed have seen the same pictures: their common luck is no noise of it.

BEGIN {
    T = "12.706 4.303 3.182 2.776 2.571 2.447 2.365 2.306 2.262 2.228 2.201 2.179 2.160 2.145 2.131 2.120 2.110 2.101"
    T = T " 2.093 2.086 2.080 2.074 2.069 2.064 2.060 2.056 2.052 2.048 2.045 2.042"
    split(T, quantile, " ")
    L = split(losses, name, " ")
    split("#5b6672 #2f7ed8 #c2642d #2a9d5c", paint, " ")
    label["infonce"] = "InfoNCE"
    label["dcl"] = "DCL"
    label["hn-nce"] = "HN-NCE"
    label["dhn-nce"] = "DHN-NCE"
    for (m = 1; m <= 4; m++) {
        direction[m] = m < 3 ? "picture to text" : "text to picture"
        kind[m] = m % 2 ? "top1" : "top2"
        title[m] = direction[m] " " kind[m]
    }
    title[5] = "mean top1"
    TOP = 34; HIGH = 180 # of the area of a panel
}

NR > 1 && $3 == "complete" { value[$1, $2, $4, $5] = $6 }

# Measure m of a run; the fifth is the mean of both directions' top-1.  suffix: "" or " ceiling".
function figure(loss, seed, m, suffix) {
    if (m == 5)
        return (figure(loss, seed, 1, suffix) + figure(loss, seed, 3, suffix)) / 2
    return value[loss, seed, direction[m], kind[m] suffix]
}

# Measure m of a loss over the seeds, or what it is above InfoNCE: sets v[1..seeds], mean, half.
function take(loss, m, diff,    s, square) {
    mean = square = half = 0
    for (s = 1; s <= seeds; s++) {
        v[s] = figure(loss, s, m, "") - (diff ? figure(name[1], s, m, "") : 0)
        mean += v[s] / seeds
    }
    for (s = 1; s <= seeds; s++)
        square += (v[s] - mean) ^ 2
    if (seeds > 1)
        half = (seeds <= 31 ? quantile[seeds - 1] : 1.96 + 2.42 / (seeds - 1)) * sqrt(square / (seeds - 1) / seeds)
}

function percent(with_sign,    f) {
    f = with_sign ? "%+.1f [%+.1f, %+.1f]" : "%.1f [%.1f, %.1f]"
    return sprintf(f, 100 * mean, 100 * (mean - half), 100 * (mean + half))
}

# ---- Tables

function row(first, cells, n,    i, text, html) {
    text = sprintf("%-8s", first)
    html = "<tr><th>" first "</th>"
    for (i = 1; i <= n; i++) {
        text = text sprintf(" | %-20s", cells[i])
        html = html "<td>" cells[i] "</td>"
    }
    print "text " text
    print "html " html "</tr>"
}

function tables(    l, m, k, suffix) {
    print "csv loss,measure,seeds,mean,low95,high95,minus_infonce,minus_low95,minus_high95"
    print "html <table>"
    for (m = 1; m <= 5; m++)
        cell[m] = title[m]
    cell[6] = "mean top1 - InfoNCE"
    row("loss", cell, 6)
    for (k = 0; k < 2; k++) {
        suffix = k ? "" : " ceiling"
        cell[6] = ""
        for (m = 1; m <= 5; m++) {
            cell[m] = sprintf("%.1f", 100 * figure("start", 0, m, suffix))
            printf "csv %s,%s,,%.4f,,,,,\n", k ? "start" : "ceiling", title[m], figure("start", 0, m, suffix)
        }
        row(k ? "start" : "ceiling", cell, 6)
    }
    for (l = 1; l <= L; l++) {
        for (m = 1; m <= 5; m++) {
            take(name[l], m, 0)
            cell[m] = percent(0)
            printf "csv %s,%s,%d,%.4f,%.4f,%.4f", name[l], title[m], seeds, mean, mean - half, mean + half
            take(name[l], m, 1)
            printf ",%.4f,%.4f,%.4f\n", mean, mean - half, mean + half
        }
        cell[6] = l > 1 ? percent(1) : ""
        row(label[name[l]], cell, 6)
    }
    print "html </table>"
}

# What the last column says, in words.
function verdict(    l, text) {
    for (l = 2; l <= L; l++) {
        take(name[l], 5, 1)
        if (seeds > 1 && (mean - half > 0 || mean + half < 0))
            text = text (text ? ", " : "") label[name[l]] (mean > 0 ? " above" : " below")
    }
    text = text ? "Beyond noise (95 %, mean top1, by seed), against InfoNCE: " text "." : \
        "No loss differs from InfoNCE beyond noise (95 %, mean top1, by seed)."
    print "text " text
    print "html <p>" text "</p>"
}

# ---- Picture: a panel for each measure; rings are seeds, a dot with a line their mean and its interval

function height(x) { return TOP + HIGH * (1 - (x - low) / (high - low)) }

function limits(m, diff, base,    l, s) {
    low = high = base
    for (l = 1; l <= L; l++) {
        take(name[l], m, diff)
        for (s = 1; s <= seeds; s++) {
            low = v[s] < low ? v[s] : low
            high = v[s] > high ? v[s] : high
        }
        low = mean - half < low ? mean - half : low
        high = mean + half > high ? mean + half : high
    }
    low -= .04 * (high - low) + .002
    high += .04 * (high - low) + .002
}

function panel(at, m, diff, base, note,    l, s, x) {
    limits(m, diff, base)
    printf "svg <g transform=\"translate(%d,0)\"><text x=\"4\" y=\"18\" font-weight=\"bold\">%s, %%</text>\n", at,
        diff ? title[m] " - InfoNCE" : title[m]
    printf "svg <path d=\"M40 %d V%d\" stroke=\"#888\"/>\n", TOP, TOP + HIGH
    for (s = 0; s <= 4; s++) {
        x = low + (high - low) * s / 4
        printf "svg <text x=\"36\" y=\"%.1f\" text-anchor=\"end\">%.1f</text>\n", height(x) + 4, 100 * x
    }
    printf "svg <path d=\"M40 %.1f H224\" stroke=\"#888\" stroke-dasharray=\"4 3\"/>", height(base)
    printf "<text x=\"224\" y=\"%.1f\" text-anchor=\"end\">%s</text>\n", height(base) - 4, note
    for (l = 1 + diff; l <= L; l++) {
        x = 44 + 180 * (l - .5) / L
        take(name[l], m, diff)
        printf "svg <g fill=\"none\" stroke=\"%s\">", paint[l]
        for (s = 1; s <= seeds; s++)
            printf "<circle cx=\"%.1f\" cy=\"%.1f\" r=\"2.5\"/>", x - 6, height(v[s])
        printf "<path stroke-width=\"2\" d=\"M%.1f %.1f V%.1f\"/>", x + 6, height(mean - half), height(mean + half)
        printf "<circle cx=\"%.1f\" cy=\"%.1f\" r=\"4\" fill=\"%s\"/></g>\n", x + 6, height(mean), paint[l]
        printf "svg <text x=\"%.1f\" y=\"%d\" text-anchor=\"middle\">%s</text>\n", x, TOP + HIGH + 18, label[name[l]]
    }
    print "svg </g>"
}

function picture(    m) {
    print "svg <svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 1410 245\" font-family=\"sans-serif\" font-size=\"11\">"
    print "svg <rect width=\"1410\" height=\"245\" fill=\"#fff\"/>"
    for (m = 1; m <= 5; m++)
        panel(235 * (m - 1), m, 0, figure("start", 0, m, ""), "start")
    panel(235 * 5, 5, 1, 0, "")
    print "svg </svg>"
}

END {
    printf "text Retrieval in %%, batches of 50 (chance 2), complete captions; %d seeds: mean and its 95 %% interval\n", seeds
    tables()
    verdict()
    picture()
}
