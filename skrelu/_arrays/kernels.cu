// The kernels of CupyArrayModule, compiled for T = float and T = double; THREADS is the number of threads of a block.
//
// Matrices are contiguous, except those that come with the distance of their rows in numbers. An argument that may be
// absent comes with a flag. CuPy passes Python's int as long long and float as double.

#define EACH(i, n) \
    for (long long i = (long long)blockIdx.x * THREADS + threadIdx.x; i < (n); i += (long long)gridDim.x * THREADS)

__device__ void reduce_block(double value, double* result) {
    __shared__ double sums[THREADS];
    sums[threadIdx.x] = value;
    __syncthreads();
    for (int k = THREADS / 2; k > 0; k /= 2) {
        if (threadIdx.x < k) sums[threadIdx.x] += sums[threadIdx.x + k];
        __syncthreads();
    }
    if (threadIdx.x == 0) *result = sums[0];
}

extern "C" __global__ void take_rows(
    const T* X, long long row_step, long long column_step, const long long* rows, long long has_rows, long long start,
    const T* shift, long long has_shift, const T* inverse_scale, long long has_scale,
    T* out, long long out_step, long long n_rows, long long n_columns
) {
    EACH(i, n_rows * n_columns) {
        long long row = i / n_columns, column = i % n_columns;
        T value = X[(has_rows ? rows[row] : start + row) * row_step + column * column_step];
        if (has_shift) value -= shift[column];
        if (has_scale) value *= inverse_scale[column];
        out[row * out_step + column] = value;
    }
}

extern "C" __global__ void relu(const T* Z, T* mask, T* out, long long n) {
    EACH(i, n) {
        T z = Z[i], positive = z > (T)0 ? (T)1 : (T)0;
        mask[i] = positive;
        out[i] = z * positive;
    }
}

extern "C" __global__ void squared_loss(
    T* F, const T* y, long long y_step, long long y_columns, const T* weight, long long weight_step,
    long long has_weight, double factor, double share, T* out, double* sums, long long n_rows, long long n_columns
) {
    double sum = 0.0;
    EACH(i, n_rows * n_columns) {
        long long row = i / n_columns;
        T e = F[i] - y[row * y_step + i % n_columns % y_columns];
        T d = has_weight ? e * weight[row * weight_step] : e;
        d *= (T)factor;
        F[i] = e;
        out[i] = d;
        sum += (double)e * (double)d;
    }
    reduce_block(sum * share, sums + blockIdx.x);
}

extern "C" __global__ void dot(const T* A, const T* B, double factor, double* sums, long long n) {
    double sum = 0.0;
    EACH(i, n) sum += (double)A[i] * (double)B[i];
    reduce_block(sum * factor, sums + blockIdx.x);
}

extern "C" __global__ void total(const double* sums, double* out, long long n) {
    double sum = 0.0;
    EACH(i, n) sum += sums[i];
    reduce_block(sum, out);
}

extern "C" __global__ void mask_backward(
    const T* E, const T* W, const T* mask, T* out, long long n_rows, long long n_columns
) {
    EACH(i, n_rows * n_columns) out[i] = E[i / n_columns] * W[i % n_columns] * mask[i];
}

extern "C" __global__ void multiply_blocks(
    const T* A, const T* D, T* out, long long n_rows, long long n_columns, long long n_blocks
) {
    EACH(i, n_rows * n_columns) {
        long long row = i / n_columns, block = i % n_columns / (n_columns / n_blocks);
        out[i] = A[i] * D[row * n_blocks + block];
    }
}

// The diagonal blocks of A (K, M m) are the blocks of rows of W (K, m), each of `block_rows` rows.
extern "C" __global__ void place_blocks(
    const T* W, T* A, long long n_rows, long long n_columns, long long block_rows, long long A_columns
) {
    EACH(i, n_rows * n_columns) {
        long long row = i / n_columns, column = i % n_columns;
        A[row * A_columns + row / block_rows * n_columns + column] = W[i];
    }
}

extern "C" __global__ void take_blocks(
    const T* A, T* W, long long n_rows, long long n_columns, long long block_rows, long long A_columns
) {
    EACH(i, n_rows * n_columns) {
        long long row = i / n_columns, column = i % n_columns;
        W[i] = A[row * A_columns + row / block_rows * n_columns + column];
    }
}

extern "C" __global__ void dot_columns(const T* A, const T* B, T* out, long long n_rows, long long n_columns) {
    EACH(column, n_columns) {
        T sum = (T)0;
        for (long long i = column; i < n_rows * n_columns; i += n_columns) sum += A[i] * B[i];
        out[column] = sum;
    }
}

extern "C" __global__ void dot_rows(
    const T* A, const T* B, double factor, T* out, long long n_rows, long long n_columns
) {
    EACH(row, n_rows) {
        T sum = (T)0;
        for (long long i = row * n_columns; i < (row + 1) * n_columns; i++) sum += A[i] * B[i];
        out[row] = sum * (T)factor;
    }
}

extern "C" __global__ void flush(T* a, double threshold, long long n) {
    EACH(i, n) {
        T size = a[i] < (T)0 ? -a[i] : a[i];
        if (size < (T)threshold) a[i] = (T)0;
    }
}

extern "C" __global__ void add_scaled(const T* x, double factor, const double* scale, T* out, long long n) {
    T by = (T)(factor * *scale);
    EACH(i, n) out[i] += x[i] * by;
}

extern "C" __global__ void descend(
    T* theta, const T* g, T* velocity, long long has_velocity, double rate, double momentum, long long n
) {
    EACH(i, n) {
        T u = g[i];
        if (has_velocity) {
            u = velocity[i] * (T)momentum + u;
            velocity[i] = u;
        }
        theta[i] -= u * (T)rate;
    }
}

extern "C" __global__ void adam(
    T* theta, const T* g, T* m, T* v, double beta1, double beta2, double rate, double epsilon, long long n
) {
    EACH(i, n) {
        T first = m[i] * (T)beta1 + g[i], second = v[i] * (T)beta2 + g[i] * g[i];
        m[i] = first;
        v[i] = second;
        theta[i] -= first / (sqrt(second) + (T)epsilon) * (T)rate;
    }
}

extern "C" __global__ void add_product(const double* a, const double* b, double factor, double* out) {
    EACH(i, 1) *out = *a + factor * *b;
}

extern "C" __global__ void running_mean(
    const double* mean, const double* value, double factor, double weight, double slope, double limit,
    double* new_mean, double* bounded
) {
    EACH(i, 1) {
        double updated = *mean + weight * (factor * *value - *mean), sloped = slope * updated;
        *new_mean = updated;
        *bounded = limit < sloped ? limit : sloped;
    }
}
